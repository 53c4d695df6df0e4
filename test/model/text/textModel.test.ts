import { describe, expect, it } from 'vitest'
import { serializeSafetensors, type TensorData } from '../../../src/model/safetensors.ts'
import { CIFAR_TEMPLATES, IMAGENET_TEMPLATES } from '../../../src/model/text/templates.ts'
import { textModelFromBytes, type TextModel } from '../../../src/model/text/textModel.ts'
import { Tokenizer } from '../../../src/model/text/tokenizer.ts'
import { classify, zeroShot, zeroShotClassifier } from '../../../src/model/zeroShot.ts'
import type { Device } from '../../../src/runtime/device.ts'
import { KeeplightError } from '../../../src/runtime/errors.ts'
import { hashBits } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { describeShared, readShared } from '../../support/golden.ts'
import { randomArray } from '../../support/random.ts'

const [D, E, LAYERS, VOCABULARY, CONTEXT] = [64, 32, 1, 49_408, 77]

/** CLIP's text tower with the real vocabulary, narrow and random, under OpenAI's names. */
function smallTower(): Uint8Array<ArrayBuffer> {
  let seed = 100
  const tensors: Record<string, TensorData> = {}
  const add = (name: string, shape: readonly number[], mean = 0): void => {
    const size = shape.reduce((a, b) => a * b, 1)
    const data = randomArray(size, ++seed, 0.4).map((value) => value + mean)
    tensors[name] = { dtype: 'F32', shape, data }
  }
  const affine = (name: string, shape: readonly number[], mean = 0): void => {
    add(`${name}.weight`, shape, mean)
    add(`${name}.bias`, [shape[0]!])
  }
  add('token_embedding.weight', [VOCABULARY, D])
  add('positional_embedding', [CONTEXT, D])
  for (let i = 0; i < LAYERS; i++) {
    const block = `transformer.resblocks.${i}`
    affine(`${block}.ln_1`, [D], 1)
    add(`${block}.attn.in_proj_weight`, [3 * D, D])
    add(`${block}.attn.in_proj_bias`, [3 * D])
    affine(`${block}.attn.out_proj`, [D, D])
    affine(`${block}.ln_2`, [D], 1)
    affine(`${block}.mlp.c_fc`, [4 * D, D])
    affine(`${block}.mlp.c_proj`, [D, 4 * D])
  }
  affine('ln_final', [D], 1)
  add('text_projection', [D, E])
  tensors['logit_scale'] = { dtype: 'F32', shape: [], data: Float32Array.of(Math.log(20)) }
  return serializeSafetensors(tensors)
}

const weights = smallTower()

async function errorOf(run: Promise<unknown>): Promise<KeeplightError> {
  const error: unknown = await run.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(KeeplightError)
  return error as KeeplightError
}

const readMerges = (): Promise<Uint8Array<ArrayBuffer>> =>
  readShared('tokenizer/bpe_simple_vocab_16e6.txt.gz')

const rowOf = ({ data, dimension }: { data: Float32Array; dimension: number }, i: number) =>
  data.subarray(i * dimension, (i + 1) * dimension)

const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = a.reduce((sum, x, i) => sum + x * b[i]!, 0)
  return dot / Math.hypot(...a) / Math.hypot(...b)
}

describeShared('a text model', () => {
  const device = useDevice()
  const load = async (on: Device): Promise<TextModel> =>
    textModelFromBytes('small', weights, { device: on, merges: await readMerges() })

  it('embeds one text or many, short or long, each as if it were alone', async () => {
    const text = await load(device())
    expect([text.dimension, text.config.vocabulary]).toEqual([E, VOCABULARY])
    expect(text.logitScale).toBeCloseTo(20, 4)
    const prompts = Array.from({ length: 40 }, (_, i) =>
      'a photo of a '.repeat(1 + (i % 5)).concat(`cat number ${i}`),
    )
    const all = await text.embed(prompts)
    expect(all).toMatchObject({ count: 40, dimension: E })
    for (const i of [0, 4, 33]) {
      const alone = await text.embed(prompts[i]!)
      expect(alone.count).toBe(1)
      rowOf(all, i).forEach((value, at) => expect(alone.data[at]).toBeCloseTo(value, 4))
    }
    expect(Math.abs(cosine(rowOf(all, 0), rowOf(all, 1)))).toBeLessThan(0.999)

    async function* stream(): AsyncGenerator<string> {
      yield* prompts
    }
    const unit = await text.embed(stream(), { normalize: true })
    for (const i of [0, 39]) {
      expect(Math.hypot(...rowOf(unit, i))).toBeCloseTo(1, 5)
      expect(cosine(rowOf(unit, i), rowOf(all, i))).toBeCloseTo(1, 5)
    }
    expect(await text.embed([])).toMatchObject({ count: 0 })

    const long = 'very '.repeat(80)
    expect((await errorOf(text.embed([long]))).message).toContain('82 tokens, expected 77 at most')
    expect((await text.embed([long], { truncate: true })).count).toBe(1)
    await text.dispose()
    expect(device().stats().usedBytes).toBe(0)
  })

  it('makes a classifier of the mean direction of every class’s prompts', async () => {
    const text = await load(device())
    const classes = ['cat', 'lawn mower', '$& dog']
    const templates = ['a photo of a {}.', 'art of the {}.', (name: string) => `${name}, a thing`]
    const classifier = await zeroShotClassifier(text, classes, { templates })
    const prompts = classes.flatMap((name) => [
      `a photo of a ${name}.`,
      `art of the ${name}.`,
      `${name}, a thing`,
    ])
    const { data } = await text.embed(prompts)
    const expected = classes.map((_, c) => {
      const sum = new Float64Array(E)
      for (let t = 0; t < 3; t++) {
        const row = rowOf({ data, dimension: E }, 3 * c + t)
        row.forEach((value, i) => (sum[i]! += value / Math.hypot(...row)))
      }
      return sum.map((value) => value / Math.hypot(...sum))
    })
    classifier.weights.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[Math.floor(i / E)]![i % E]!, 5)
    })

    // More images than are compared at once; the first three are the classes' own directions.
    const count = 1030
    const features = { count, dimension: E, data: randomArray(count * E, 9) }
    features.data.set(classifier.weights.map((value) => 3 * value))
    const result = await classify(device(), classifier, features)
    expect([...result.labels.subarray(0, 3)]).toEqual([0, 1, 2])
    for (const i of [0, 1, 2, 3, 1029]) {
      const scores = expected.map((row) => 20 * cosine(rowOf(features, i), Float32Array.from(row)))
      const most = Math.max(...scores)
      const total = scores.reduce((sum, score) => sum + Math.exp(score - most), 0)
      scores.forEach((score, c) => {
        expect(result.logits[i * 3 + c]).toBeCloseTo(score, 3)
        expect(result.probabilities[i * 3 + c]).toBeCloseTo(Math.exp(score - most) / total, 4)
      })
      expect(result.labels[i]).toBe(scores.indexOf(most))
    }

    const model = { dimension: E, embed: async () => features }
    const picture = { width: 1, height: 1, data: new Uint8Array(3) }
    const whole = await zeroShot(model, text, picture, classes, { templates })
    expect(hashBits(whole.logits)).toBe(hashBits(result.logits))
    const given = await zeroShot(model, text, features, classes, { templates })
    expect(hashBits(given.probabilities)).toBe(hashBits(result.probabilities))

    expect((await errorOf(zeroShotClassifier(text, []))).message).toContain('no class is given')
    const bare = zeroShotClassifier(text, classes, { templates: ['a photo'] })
    expect((await errorOf(bare)).message).toContain('"a photo" has no {} for the class')
    const other = { count: 1, dimension: 8, data: new Float32Array(8) }
    expect((await errorOf(classify(device(), classifier, other))).message).toContain(
      "the images' features have 8 values, the texts' 32",
    )
    const stopped = zeroShotClassifier(text, classes, { signal: AbortSignal.abort() })
    expect((await errorOf(stopped)).code).toBe('aborted')
    await text.dispose()
    expect(device().stats().usedBytes).toBe(0)
  })

  it('takes merges as OpenAI and as Hugging Face publish them', async () => {
    const bytes = await readMerges()
    const reference = await Tokenizer.fromBytes(bytes)
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
    const lines = (await new Response(stream).text()).split('\n').slice(1, 48_895)
    const json = (merges: unknown, vocab?: Record<string, number>): string =>
      JSON.stringify({ model: { type: 'BPE', merges, ...(vocab && { vocab }) } })
    const variants = [
      ['#version: 0.2', ...lines, ''].join('\n'),
      json(lines),
      json(
        lines.map((line) => line.split(' ')),
        { '<|startoftext|>': 49_406, '<|endoftext|>': 49_407 },
      ),
    ]
    const prompt = "A Photo of 12 dogs!!! it's café 🙂"
    for (const variant of variants) {
      const tokenizer = await Tokenizer.fromBytes(new TextEncoder().encode(variant))
      expect(tokenizer.encode(prompt)).toEqual(reference.encode(prompt))
    }
    const message = (text: string): string => {
      try {
        Tokenizer.fromText(text)
      } catch (error) {
        return (error as Error).message
      }
      return 'read'
    }
    expect(message('{ nonsense')).toContain('tokenizer.json is no JSON')
    expect(message('{"model": {"type": "Unigram"}}')).toContain('has no byte-pair merges')
    const shifted = json(lines, { '<|startoftext|>': 0, '<|endoftext|>': 2 })
    expect(message(shifted)).toContain('at other places than 49406 and 49407')
    expect(message(json(lines.slice(1)))).toContain('it has 48893 merges')
  })
})

describe('the templates of the paper', () => {
  it('are 18 and 80, each once and with a place for the name', () => {
    expect(new Set(CIFAR_TEMPLATES).size).toBe(18)
    expect(new Set(IMAGENET_TEMPLATES).size).toBe(80)
    for (const template of [...CIFAR_TEMPLATES, ...IMAGENET_TEMPLATES]) {
      expect(template.split('{}')).toHaveLength(2)
      expect(template).not.toContain('@')
    }
    expect(IMAGENET_TEMPLATES).toContain('a jpeg corrupted photo of the {}.')
    expect(IMAGENET_TEMPLATES).toContain('the {} in a video game.')
    expect(IMAGENET_TEMPLATES).toContain('itap of my {}.')
    expect(CIFAR_TEMPLATES).toContain('a photo of the big {}.')
  })
})
