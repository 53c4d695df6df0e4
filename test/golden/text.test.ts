import { expect, it } from 'vitest'
import { parseSafetensors, type SafetensorsFile } from '../../src/model/safetensors.ts'
import { bufferSource } from '../../src/model/byteSource.ts'
import { loadText } from '../../src/model/loadTowers.ts'
import { readText } from '../../src/model/text/names.ts'
import {
  textInputs,
  TextTransformer,
  type TextInputs,
} from '../../src/model/text/textTransformer.ts'
import { TextModel } from '../../src/model/text/textModel.ts'
import { classify, zeroShotClassifier } from '../../src/model/zeroShot.ts'
import { record } from '../../src/runtime/plan.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { cosine, hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { describeGolden, readGolden } from '../support/golden.ts'

const load = async (path: string): Promise<SafetensorsFile> =>
  parseSafetensors(await readGolden(path))

const largestDifference = (actual: ArrayLike<number>, expected: ArrayLike<number>): number => {
  let worst = 0
  for (let i = 0; i < actual.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!)
    if (!(difference <= worst)) worst = difference
  }
  return worst
}

describeGolden('the text tower', () => {
  const device = useDevice()

  const upload = (inputs: TextInputs): { [K in keyof TextInputs]: Tensor<'u32'> } => ({
    tokens: device().tensor(inputs.tokens, [inputs.tokens.length]),
    positions: device().tensor(inputs.positions, [inputs.positions.length]),
    endRows: device().tensor(inputs.endRows, [inputs.endRows.length]),
  })

  async function tower(
    names: string,
  ): Promise<{ text: TextTransformer; inputs: TextInputs; expected: SafetensorsFile }> {
    const expected = await load('clip-tiny/expected.safetensors')
    const { config, weights } = readText(await load(`clip-tiny/${names}.safetensors`))
    const bytes = expected.bytes('input_ids').slice()
    const inputs = textInputs(new Uint32Array(bytes.buffer), config.context, config)
    return { text: new TextTransformer(device(), config, weights), inputs, expected }
  }

  it('has the features and hidden states of the reference, eager and from a plan', async () => {
    const { text, inputs, expected } = await tower('model')
    const tensors = upload(inputs)
    const { feature, tokens } = text.forward(tensors)
    expect(
      largestDifference(await feature.read(), expected.float32('text_embeds')),
    ).toBeLessThanOrEqual(1e-4)

    // Columns past every end token were cut off; a causal mask hides them from the others.
    const [batch, length, width] = tokens.shape as [number, number, number]
    const hidden = await text.normalize(tokens).read()
    const reference = expected.float32('text_hidden_last')
    const stride = reference.length / batch
    for (let i = 0; i < batch; i++) {
      const rows = hidden.subarray(i * length * width, (i + 1) * length * width)
      const its = reference.subarray(i * stride, i * stride + rows.length)
      expect(largestDifference(rows, its), `text ${i}`).toBeLessThanOrEqual(1e-4)
    }

    const plan = await record(device(), tensors, (given) => text.forward(given).feature)
    plan.run()
    expect(hashBits(await plan.outputs.read())).toBe(hashBits(await feature.read()))
    plan.dispose()
    text.dispose()
  })

  it('has close features with weights in f16 and int8, of its own half of the file', async () => {
    const { text, inputs, expected } = await tower('model')
    text.dispose()
    const bytes = await readGolden('clip-tiny/model.safetensors')
    const reference = expected.float32('text_embeds')
    for (const [dtype, least] of [
      ['f32', 0.999999],
      ['f16', 0.999],
      ['int8', 0.99],
    ] as const) {
      const source = bufferSource('clip-tiny', bytes)
      const { tower: half } = await loadText(source, { device: device(), dtype })
      const feature = await half.forward(upload(inputs)).feature.read()
      const size = half.config.projection
      for (let i = 0; i * size < feature.length; i++) {
        const part = (all: Float32Array): Float32Array => all.subarray(i * size, (i + 1) * size)
        const found = cosine(part(feature), part(reference))
        expect(found, `${dtype}, text ${i}`).toBeGreaterThanOrEqual(least)
      }
      half.dispose()
    }
  })

  it('and the image tower give the logits of the reference', async () => {
    const expected = await load('clip-tiny/expected.safetensors')
    const bytes = await readGolden('clip-tiny/model.safetensors')
    const { tower, logitScale } = await loadText(bufferSource('clip-tiny', bytes), {
      device: device(),
    })
    const ids = new Uint32Array(expected.bytes('input_ids').slice().buffer)
    const { context } = tower.config
    // Its small vocabulary has no words: text i is row i of the reference's ids.
    const tokenizer = {
      tokenize: ([text]: readonly string[]) =>
        ids.slice(Number(text) * context, (Number(text) + 1) * context),
    }
    const text = new TextModel(device(), tower, { name: 'clip-tiny', tokenizer, logitScale })
    const { data } = await text.embed(['0', '1'])
    expect(largestDifference(data, expected.float32('text_embeds'))).toBeLessThanOrEqual(1e-4)
    const classifier = await zeroShotClassifier(text, ['0', '1'], { templates: ['{}'] })
    const images = new Float32Array(expected.float32('image_embeds'))
    const result = await classify(device(), classifier, {
      count: 2,
      dimension: text.dimension,
      data: images,
    })
    const reference = expected.float32('logits_per_image')
    expect(largestDifference(result.logits, reference)).toBeLessThanOrEqual(1e-4)
    expect(new Set(reference).size).toBe(4)
    await text.dispose()
  })

  it('gives the same bits under both naming schemes', async () => {
    const hashes: string[] = []
    for (const names of ['model', 'openai-names']) {
      const { text, inputs } = await tower(names)
      hashes.push(hashBits(await text.forward(upload(inputs)).feature.read()))
      text.dispose()
    }
    expect(hashes[0]).toBe(hashes[1])
  })

  it('refuses what was tokenized for another model, and files without a text tower', async () => {
    const vocabulary = { vocabulary: 10 }
    expect(() => textInputs(Uint32Array.of(8, 3, 9, 9), 4, vocabulary)).not.toThrow()
    expect(errorOf(() => textInputs(Uint32Array.of(8, 10, 9, 9), 4, vocabulary)).message).toContain(
      'text 0 has token 10, expected less than 10',
    )
    expect(errorOf(() => textInputs(Uint32Array.of(8, 9, 1, 2), 2, vocabulary)).message).toContain(
      'text 1 has no end token 9',
    )
    const dino = await load('dino-tiny/model.safetensors')
    expect(errorOf(() => readText(dino)).message).toContain('no text tower in the file')
  })
})
