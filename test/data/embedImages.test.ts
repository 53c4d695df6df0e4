import { describe, expect, it } from 'vitest'
import { prepareViews } from '../../src/data/augment.ts'
import { embedImages } from '../../src/data/embedImages.ts'
import { randomBits } from '../../src/kernels/random.ts'
import type { Pixels } from '../../src/model/preprocess.ts'

const preprocess = { size: 4, resize: 4, mean: [0, 0, 0], std: [1, 1, 1] } as const
const bytes = 4 * 4 * 3

/** An encoder whose feature is the picture's first byte and its sum, and a log of its calls. */
function fakeEncoder() {
  const calls: number[] = []
  return {
    calls,
    dimension: 2,
    preprocess,
    async embedPixels(pixels: Uint8Array): Promise<Float32Array<ArrayBuffer>> {
      calls.push(pixels.length / bytes)
      const features = new Float32Array((pixels.length / bytes) * 2)
      // Features are of what was handed over, also when the caller goes on meanwhile.
      await new Promise((resolve) => setTimeout(resolve, 1))
      for (let i = 0; i < features.length / 2; i++) features.set(featureOf(pixels, i), i * 2)
      return features
    },
  }
}

function featureOf(pixels: Uint8Array, image: number): number[] {
  const picture = pixels.subarray(image * bytes, (image + 1) * bytes)
  return [picture[0]!, picture.reduce((sum, byte) => sum + byte, 0)]
}

/** Pictures that differ from each other and within themselves, of different sizes. */
function picture(seed: number): Pixels {
  const [width, height] = [6 + (seed % 3), 5 + (seed % 4)]
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => randomBits(seed, 7, i))
  return { width, height, data }
}

describe('embedImages', () => {
  it.each([
    ['fewer rows than a batch', 3, 2],
    ['a batch exactly', 16, 1],
    ['one row more than a batch', 33, 0],
    ['images whose views straddle batches', 23, 4],
  ])('puts every row in its place: %s', async (_, count, views) => {
    const encoder = fakeEncoder()
    const pictures = Array.from({ length: count }, (__, i) => picture(i))
    const features = await embedImages(encoder, pictures, { views, seed: 3 })
    expect(features).toMatchObject({ count, views, dimension: 2 })
    expect(features.clean.length).toBe(count * 2)
    expect(features.augmented.length).toBe(views * count * 2)
    for (let i = 0; i < count; i++) {
      const stream = randomBits(3, 0, i)
      const prepared = prepareViews(pictures[i]!, preprocess, { views, seed: 3, stream })
      expect([...features.clean.subarray(i * 2, i * 2 + 2)]).toEqual(featureOf(prepared, 0))
      for (let view = 0; view < views; view++) {
        const at = (view * count + i) * 2
        const row = [...features.augmented.subarray(at, at + 2)]
        expect(row).toEqual(featureOf(prepared, 1 + view))
      }
    }
    const rows = count * (1 + views)
    expect(encoder.calls.reduce((sum, call) => sum + call, 0)).toBe(rows)
    expect(Math.max(...encoder.calls)).toBeLessThanOrEqual(32)
    expect(encoder.calls).toHaveLength(Math.ceil(rows / 32))
  })

  it('takes prepared views as it takes pictures', async () => {
    const pictures = Array.from({ length: 9 }, (_, i) => picture(i))
    const direct = await embedImages(fakeEncoder(), pictures, { views: 3, seed: 8 })
    const prepared = pictures.map((pixels, i) =>
      prepareViews(pixels, preprocess, { views: 3, seed: 8, stream: randomBits(8, 0, i) }),
    )
    expect(await embedImages(fakeEncoder(), prepared, { views: 3 })).toEqual(direct)
  })

  it('holds no more than a batch of pictures, and tells how many are done', async () => {
    const encoder = fakeEncoder()
    let made = 0
    let ahead = 0
    async function* pictures(): AsyncGenerator<Pixels> {
      for (; made < 80; made++) {
        const embedded = encoder.calls.reduce((sum, call) => sum + call, 0)
        ahead = Math.max(ahead, made - embedded)
        yield picture(made)
      }
    }
    const done: number[] = []
    await embedImages(encoder, pictures(), { views: 0, onProgress: (count) => done.push(count) })
    expect(ahead).toBeLessThanOrEqual(32)
    expect(done).toEqual([32, 64, 80])
  })

  it('stops between batches when the signal says so', async () => {
    const encoder = fakeEncoder()
    const stop = new AbortController()
    const pictures = Array.from({ length: 70 }, (_, i) => picture(i))
    const run = embedImages(encoder, pictures, {
      views: 0,
      signal: stop.signal,
      onProgress: () => stop.abort(),
    })
    await expect(run).rejects.toMatchObject({ code: 'aborted', message: 'embed: stopped' })
    expect(encoder.calls).toEqual([32])
  })

  it('stops before the last batch too', async () => {
    const encoder = fakeEncoder()
    const stop = new AbortController()
    function* pictures(): Generator<Pixels> {
      yield picture(1)
      stop.abort()
    }
    const run = embedImages(encoder, pictures(), { signal: stop.signal })
    await expect(run).rejects.toMatchObject({ code: 'aborted' })
    expect(encoder.calls).toEqual([])
  })

  it('refuses nothing to embed, and prepared views of another number', async () => {
    await expect(embedImages(fakeEncoder(), [])).rejects.toMatchObject({
      code: 'input',
      message: 'embed: there are no images',
    })
    const short = [new Uint8Array(3 * bytes), new Uint8Array(2 * bytes)]
    await expect(embedImages(fakeEncoder(), short, { views: 2 })).rejects.toMatchObject({
      code: 'validation',
      message:
        'embed: prepared image 1 has 96 bytes, expected 144 for the clean picture and 2 views; ' +
        "prepare it with the model's own preprocess and views",
    })
  })

  it('passes on what the source of pictures throws', async () => {
    function* pictures(): Generator<Pixels> {
      yield picture(1)
      throw new Error('the folder went away')
    }
    await expect(embedImages(fakeEncoder(), pictures())).rejects.toThrow('the folder went away')
  })
})
