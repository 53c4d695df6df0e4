import { expect, it } from 'vitest'
import { parseSafetensors, type SafetensorsFile } from '../../src/model/safetensors.ts'
import { readVit } from '../../src/model/vit/names.ts'
import { classRowsOf, VisionTransformer } from '../../src/model/vit/vit.ts'
import { preprocess } from '../../src/model/preprocess.ts'
import { bufferSource } from '../../src/model/byteSource.ts'
import { loadVit } from '../../src/model/loadTowers.ts'
import { modelFromBytes } from '../../src/model/model.ts'
import { record } from '../../src/runtime/plan.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { cosine, hashBits } from '../support/compare.ts'
import { expectSameBytes } from '../support/sameBytes.ts'
import { useDevice } from '../support/device.ts'
import { describeGolden, describeShared, readGolden, readShared } from '../support/golden.ts'

const load = async (path: string): Promise<SafetensorsFile> =>
  parseSafetensors(await readGolden(path))

async function expectWithin(
  name: string,
  tensor: Tensor<'f32'>,
  expected: Float32Array,
  absolute = 1e-4,
): Promise<void> {
  const actual = await tensor.read()
  expect(actual.length, `${name}: length`).toBe(expected.length)
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!)
    if (!(difference <= worst)) worst = difference
  }
  expect(worst, `${name}: largest |Δ|`).toBeLessThanOrEqual(absolute)
}

describeGolden('vision transformers', () => {
  const device = useDevice()

  async function forward(
    file: SafetensorsFile,
    pixels: Float32Array,
    [height, width]: readonly [number, number],
  ): Promise<{ vit: VisionTransformer; out: ReturnType<VisionTransformer['forward']> }> {
    const { config, weights } = readVit(file)
    const vit = new VisionTransformer(device(), config, weights)
    const batch = pixels.length / (3 * height * width)
    const patches = (height / config.patchSize) * (width / config.patchSize)
    const tokens = 1 + config.registers + patches
    const input = device().tensor(pixels, [batch, 3, height, width])
    const rows = device().tensor(classRowsOf(batch, tokens), [batch])
    return { vit, out: vit.forward(input, rows, { hiddenStates: true }) }
  }

  it('CLIP: every hidden state and the projected feature, eager and from a plan', async () => {
    const expected = await load('clip-tiny/expected.safetensors')
    const file = await load('clip-tiny/model.safetensors')
    const pixels = expected.float32('pixel_values')
    const { vit, out } = await forward(file, pixels, [32, 32])
    for (const [i, state] of out.hiddenStates.entries()) {
      await expectWithin(`hidden ${i}`, state, expected.float32(`vision_hidden_${i}`))
    }
    await expectWithin('last hidden', out.tokens, expected.float32('vision_last_hidden'))
    await expectWithin('image_embeds', out.feature, expected.float32('image_embeds'))

    const input = device().tensor(new Float32Array(pixels.length), [2, 3, 32, 32])
    const rows = device().tensor(classRowsOf(2, 17), [2])
    const plan = await record(device(), { input, rows }, (inputs) => {
      return vit.forward(inputs.input, inputs.rows).feature
    })
    plan.run({ input: pixels })
    expect(hashBits(await plan.outputs.read())).toBe(hashBits(await out.feature.read()))
    expect(plan.stats().dispatches).toBeLessThanOrEqual(2 * 7 + 7)
    plan.dispose()
  })

  it.each([
    [32, 32],
    [48, 40],
  ])('DINO at %i×%i: every hidden state and the class token', async (height, width) => {
    const expected = await load('dino-tiny/expected.safetensors')
    const file = await load('dino-tiny/model.safetensors')
    const size = `${height}x${width}`
    const pixels = expected.float32(`pixel_values_${size}`)
    const { vit, out } = await forward(file, pixels, [height, width])
    // transformers reports the final norm's output as a ViT's last hidden state.
    for (const [i, state] of out.hiddenStates.slice(0, -1).entries()) {
      await expectWithin(`hidden ${i}`, state, expected.float32(`hidden_${size}_${i}`))
    }
    const all = vit.normalize(out.tokens)
    await expectWithin('last hidden', all, expected.float32(`last_hidden_${size}`))
    await expectWithin('class token', out.feature, expected.float32(`cls_${size}`))
  })

  it.each([
    ['dinov2-tiny', 56, 56],
    ['dinov2-tiny', 42, 70],
    ['dinov2-registers-tiny', 56, 56],
    ['dinov2-registers-tiny', 42, 70],
  ])('%s at %i×%i: every hidden state and the class token', async (name, height, width) => {
    const expected = await load(`${name}/expected.safetensors`)
    const file = await load(`${name}/model.safetensors`)
    const size = `${height}x${width}`
    const pixels = expected.float32(`pixel_values_${size}`)
    const { vit, out } = await forward(file, pixels, [height, width])
    for (const [i, state] of out.hiddenStates.entries()) {
      await expectWithin(`hidden ${i}`, state, expected.float32(`hidden_${size}_${i}`))
    }
    const all = vit.normalize(out.tokens)
    await expectWithin('last hidden', all, expected.float32(`last_hidden_${size}`))
    await expectWithin('class token', out.feature, expected.float32(`cls_${size}`))
  })

  it.each([
    ['clip-tiny', 'image_embeds', 'pixel_values', 32],
    ['dino-tiny', 'cls_32x32', 'pixel_values_32x32', 32],
    ['dinov2-tiny', 'cls_56x56', 'pixel_values_56x56', 56],
    ['dinov2-registers-tiny', 'cls_56x56', 'pixel_values_56x56', 56],
  ])('%s with weights in f16 and int8', async (folder, name, input, side) => {
    const expected = await load(`${folder}/expected.safetensors`)
    const bytes = await readGolden(`${folder}/model.safetensors`)
    for (const [dtype, least] of [
      ['f16', 0.999],
      ['int8', 0.99],
    ] as const) {
      const source = bufferSource(folder, bytes)
      const { encoder } = await loadVit(source, { device: device(), dtype })
      const values = expected.float32(input)
      const batch = values.length / (3 * side * side)
      const tokens = encoder.preparePositions(side, side).shape[0]!
      const pixels = device().tensor(values, [batch, 3, side, side])
      const rows = device().tensor(classRowsOf(batch, tokens), [batch])
      const feature = await encoder.forward(pixels, rows).feature.read()
      const reference = expected.float32(name)
      const size = feature.length / batch
      for (let i = 0; i < batch; i++) {
        const part = (all: Float32Array): Float32Array => all.subarray(i * size, (i + 1) * size)
        const found = cosine(part(feature), part(reference))
        expect(found, `${dtype}, image ${i}`).toBeGreaterThanOrEqual(least)
      }
      encoder.dispose()
    }
  })

  it.each([
    ['clip-tiny', 'openai-names'],
    ['dino-tiny', 'original-names'],
  ])('%s gives the same bits under %s', async (folder, other) => {
    const expected = await load(`${folder}/expected.safetensors`)
    const name = folder === 'clip-tiny' ? 'pixel_values' : 'pixel_values_32x32'
    const pixels = expected.float32(name)
    const hashes: string[] = []
    for (const names of ['model', other]) {
      const { out } = await forward(await load(`${folder}/${names}.safetensors`), pixels, [32, 32])
      hashes.push(hashBits(await out.feature.read()))
    }
    expect(hashes[0]).toBe(hashes[1])
  })
})

describeShared('keeplight-tiny', () => {
  const device = useDevice()

  it('prepares pictures and gives the features of its card', async () => {
    const bytes = await readShared('weights/keeplight-tiny/model.safetensors')
    const expected = parseSafetensors(
      await readShared('weights/keeplight-tiny/expected.safetensors'),
    )
    const model = await modelFromBytes('keeplight-tiny', bytes, { device: device() })
    expect(model.hash).toBe('d35955e25a82d07e84d455ba8ce84703d91de1add18f6a2f095409232f3111b7')
    // From the pictures themselves: the model must prepare them as its card says.
    const sources = expected.bytes('source_uint8_32x32')
    const prepared = new Uint8Array(4 * 64 * 64 * 3)
    for (let i = 0; i < 4; i++) {
      const data = sources.slice(i * 32 * 32 * 3, (i + 1) * 32 * 32 * 3)
      prepared.set(
        preprocess({ width: 32, height: 32, data }, model.preprocess).data,
        i * 64 * 64 * 3,
      )
    }
    expectSameBytes(prepared, expected.bytes('pixels_uint8'))
    const features = await model.embedPixels(prepared)
    const reference = expected.float32('features').subarray(0, 4 * 192)
    let worst = 0
    features.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - reference[i]!))))
    expect(worst).toBeLessThanOrEqual(1e-4)
    await model.dispose()
  })
})
