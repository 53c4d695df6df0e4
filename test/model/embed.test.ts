import { describe, expect, it } from 'vitest'
import type { ImageInput } from '../../src/model/imageInput.ts'
import { preprocess as prepare, type Pixels } from '../../src/model/preprocess.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { preprocess, smallModel } from '../support/smallModel.ts'

/** A random picture of its own size. */
function picture(seed: number): Pixels {
  const [width, height] = [9 + (seed % 5), 8 + (seed % 3)]
  const values = randomArray(width * height * 3, seed, 128)
  return { width, height, data: Uint8Array.from(values, (value) => value + 128) }
}

async function errorOf(run: Promise<unknown>): Promise<KeeplightError> {
  const error: unknown = await run.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(KeeplightError)
  return error as KeeplightError
}

describe('embed', () => {
  const device = useDevice()

  it('gives the rows of embedPixels for one picture, an array and an async iterable', async () => {
    const model = smallModel(device())
    const pictures = Array.from({ length: 5 }, (_, i) => picture(i + 1))
    const bytes = new Uint8Array(5 * 8 * 8 * 3)
    pictures.forEach((image, i) => bytes.set(prepare(image, preprocess).data, i * 8 * 8 * 3))
    const expected = await model.embedPixels(bytes)
    expect(new Set(expected).size).toBeGreaterThan(70)

    const features = await model.embed(pictures)
    expect(features).toMatchObject({ count: 5, dimension: 16 })
    expect(hashBits(features.data)).toBe(hashBits(expected))
    async function* stream(): AsyncGenerator<Pixels> {
      yield* pictures
    }
    expect(hashBits((await model.embed(stream())).data)).toBe(hashBits(expected))
    const one = await model.embed(pictures[3]!)
    expect(one.count).toBe(1)
    expect(one.data).toHaveLength(16)
    one.data.forEach((value, i) => expect(value).toBeCloseTo(expected[3 * 16 + i]!, 5))
    expect(await model.embed([])).toMatchObject({ count: 0, data: new Float32Array() })
    await model.dispose()
  })

  it('takes alpha for what shows white, and normalises rows when asked', async () => {
    const model = smallModel(device())
    const opaque = picture(3)
    const data = new Uint8ClampedArray(opaque.width * opaque.height * 4)
    const white = { ...opaque, data: new Uint8Array(opaque.data.length).fill(255) }
    for (let i = 0; i < data.length; i++) {
      data[i] = i % 4 === 3 ? 255 : opaque.data[Math.floor(i / 4) * 3 + (i % 4)]!
    }
    const clear = data.map((value, i) => (i % 4 === 3 ? 0 : value))
    const expected = await model.embed([opaque, white])
    const { data: rows } = await model.embed([
      { ...opaque, data },
      { ...opaque, data: clear },
    ])
    expect(hashBits(rows)).toBe(hashBits(expected.data))

    const unit = await model.embed([opaque, white], { normalize: true })
    for (const row of [0, 1]) {
      const values = expected.data.subarray(row * 16, row * 16 + 16)
      const length = Math.hypot(...values)
      values.forEach((value, i) => expect(unit.data[row * 16 + i]).toBeCloseTo(value / length, 6))
    }
    await model.dispose()
  })

  it('works ahead by two batches and a few pictures, in one submit a batch', async () => {
    const model = smallModel(device())
    await model.embed([picture(1), picture(2)], { batch: 2 })
    let [given, reading, mostReading, ahead] = [0, 0, 0, 0]
    async function* stream(): AsyncGenerator<Pixels> {
      for (; given < 40; given++) yield picture(given + 1)
    }
    const read = device().read.bind(device())
    device().read = async (tensor) => {
      mostReading = Math.max(mostReading, ++reading)
      return read(tensor).finally(() => reading--)
    }
    const before = device().stats().submits
    const done: number[] = []
    const features = await model.embed(stream(), {
      batch: 2,
      onProgress: (images) => {
        done.push(images)
        ahead = Math.max(ahead, given - images)
      },
    })
    device().read = read
    expect(features.count).toBe(40)
    expect(done).toEqual(Array.from({ length: 20 }, (_, i) => 2 * i + 2))
    expect(mostReading).toBe(2)
    // Two batches in flight, and four pictures that are decoded ahead.
    expect(ahead).toBeLessThanOrEqual(2 * 2 + 4)
    // A replay and a readback for each.
    expect(device().stats().submits - before).toBe(2 * 20)
    const alone = await model.embed(
      Array.from({ length: 40 }, (_, i) => picture(i + 1)),
      { batch: 2 },
    )
    expect(hashBits(alone.data)).toBe(hashBits(features.data))

    // Calls at once share plans and keep apart.
    const [a, b] = await Promise.all([model.embed(picture(7)), model.embed(picture(8))])
    expect(hashBits((await model.embed(picture(7))).data)).toBe(hashBits(a.data))
    expect(hashBits((await model.embed(picture(8))).data)).toBe(hashBits(b.data))
    await model.dispose()
    expect(device().stats().usedBytes).toBe(0)
  })

  it('stops computing when nobody asks for more batches', async () => {
    const model = smallModel(device())
    let given = 0
    function* endless(): Generator<Pixels> {
      for (;;) yield picture(++given)
    }
    for await (const { count, data } of model.embedBatches(endless(), { batch: 4 })) {
      expect(count).toBe(4)
      expect(data).toHaveLength(4 * 16)
      break
    }
    expect(given).toBeLessThanOrEqual(2 * 4 + 4)
    await model.dispose()
  })

  it('interpolates positions for other sizes, and prepares pictures for them', async () => {
    const model = smallModel(device())
    const large = await model.embed(picture(2), { imageSize: 16 })
    const { features, grid } = await model.inspect(picture(2), { imageSize: 16 })
    expect(grid).toEqual([4, 4])
    expect(hashBits(large.data)).toBe(hashBits(features.data))
    const usual = await model.embed(picture(2))
    expect(hashBits(large.data)).not.toBe(hashBits(usual.data))
    const error = await errorOf(model.embed(picture(2), { imageSize: 10 }))
    expect(error.code).toBe('validation')
    expect(error.message).toContain(
      'no whole number of 4-pixel patches; the nearest imageSize is 12',
    )
    await model.dispose()
  })

  it('names the picture that fails, and what is wrong with the options', async () => {
    const decode = async (image: ImageInput, { name }: { name: string }): Promise<Pixels> => {
      if (typeof image !== 'string') return image as Pixels
      throw new KeeplightError('input', `${name}: damaged`)
    }
    const model = smallModel(device(), decode)
    const broken = await errorOf(model.embed([picture(1), picture(2), 'cat.jpg', picture(3)]))
    expect(broken.message).toBe('image 2 (cat.jpg): damaged')
    expect((await errorOf(model.embed([], { batch: 65 }))).message).toContain('expected 1 to 64')
    const signal = AbortSignal.abort()
    expect((await errorOf(model.embed([picture(1)], { signal }))).code).toBe('aborted')
    await model.dispose()

    const plain = smallModel(device())
    const short = { width: 3, height: 2, data: new Uint8Array(5) }
    expect((await errorOf(plain.embed(short))).message).toContain(
      'image 0: 3×2 pixels with 5 bytes; expected three bytes a pixel (RGB) or four',
    )
    const undecoded = await errorOf(plain.embed(new Uint8Array(4)))
    expect(undecoded.code).toBe('usage')
    expect(undecoded.message).toContain('image 0: this model was made without a decoder')
    const none = await errorOf(plain.inspect([]))
    expect(none.message).toContain('there are no images')
    expect((await errorOf(plain.inspect(picture(1), { blocks: [2] }))).message).toContain(
      'no block 2; the encoder has blocks 0 to 1',
    )
    await plain.dispose()
    expect(device().stats().usedBytes).toBe(0)
  })
})
