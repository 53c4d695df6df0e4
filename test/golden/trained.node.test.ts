import { gunzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { decodePixels } from '../../src/data/decodeImage.node.ts'
import { bufferSource } from '../../src/model/byteSource.ts'
import { modelFromSource } from '../../src/model/model.ts'
import { normalizePixels, preprocess } from '../../src/model/preprocess.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { familyPreprocess } from '../../src/model/vit/config.ts'
import { readVit } from '../../src/model/vit/names.ts'
import { classRowsOf, VisionTransformer } from '../../src/model/vit/vit.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { cosine } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { describeShared, readGolden, readShared } from '../support/golden.ts'

/** Least cosine of features with the reference's, for each dtype of the weights. */
const DTYPES = [
  ['f32', 0.99999],
  ['f16', 0.999],
  ['int8', 0.99],
] as const

/** Every run compares a few pictures, `npm run test:full` as many as were asked for. */
const FULL = Boolean(process.env.KEEPLIGHT_FULL)
const FULL_TIMEOUT = 900_000

async function expectWithin(
  name: string,
  tensor: Tensor<'f32'>,
  expected: Float32Array,
  absolute: number,
): Promise<void> {
  const actual = await tensor.read()
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!)
    if (!(difference <= worst)) worst = difference
  }
  expect(worst, `${name}: largest |Δ|`).toBeLessThanOrEqual(absolute)
}

describeShared('a trained DINOv2 S/14', () => {
  const device = useDevice()

  it('has the class token of the reference at every block, at real magnitudes', async () => {
    const file = parseSafetensors(await readShared('weights/vit-s-14-saliency/model.safetensors'))
    const expected = parseSafetensors(
      await readShared('weights/vit-s-14-saliency/expected.safetensors'),
    )
    const { config, weights, scheme } = readVit(file)
    expect(scheme).toBe('Hugging Face DINOv2')
    const vit = new VisionTransformer(device(), config, weights)
    const { mean, std } = familyPreprocess('dinov2', config.imageSize)
    const pictures = normalizePixels(
      expected.bytes('pixels_uint8'),
      { size: 224, resize: 256, mean, std },
      3,
    )
    // One picture: a software adapter takes a second for each.
    const pixels = device().tensor(pictures.slice(0, 3 * 224 * 224), [1, 3, 224, 224])
    const tokens = vit.preparePositions(224, 224).shape[0]!
    const classRows = device().tensor(classRowsOf(1, tokens), [1])
    const out = vit.forward(pixels, classRows, { hiddenStates: true })
    const d = config.hiddenSize
    const reference = expected.float32('hidden_cls')
    for (const [i, state] of out.hiddenStates.entries()) {
      const first = state.view([tokens, d]).rows(0, 1)
      const wanted = reference.subarray(i * 4 * d, (i * 4 + 1) * d)
      const largest = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
      await expectWithin(`class token ${i}`, first, wanted, 1e-5 * Math.max(largest, 1))
    }
    await expectWithin('feature', out.feature, expected.float32('cls').subarray(0, d), 1e-4)
    vit.dispose()
  })

  it.each(DTYPES)('has its features with weights in %s', async (dtype, least) => {
    const folder = 'weights/vit-s-14-saliency'
    const source = bufferSource(folder, await readShared(`${folder}/model.safetensors`))
    const expected = parseSafetensors(await readShared(`${folder}/expected.safetensors`))
    const { mean, std } = familyPreprocess('dinov2', 518)
    const options = { device: device(), dtype, preprocess: { size: 224, resize: 256, mean, std } }
    const model = await modelFromSource('vit-s-14-saliency', source, options)
    const pictures = FULL ? 3 : 1
    const bytes = expected.bytes('pixels_uint8').slice(0, pictures * 224 * 224 * 3)
    const features = await model.embedPixels(bytes)
    const reference = expected.float32('cls')
    const d = model.dimension
    for (let i = 0; i < pictures; i++) {
      const found = cosine(
        features.subarray(i * d, (i + 1) * d),
        reference.subarray(i * d, (i + 1) * d),
      )
      expect(found, `picture ${i}`).toBeGreaterThanOrEqual(least)
    }
    await model.dispose()
  })
})

/** Files of a tar archive, in its order. */
function untar(tar: Uint8Array): Uint8Array<ArrayBuffer>[] {
  const text = (from: number, to: number): string =>
    new TextDecoder('latin1').decode(tar.subarray(from, to)).replace(/\0.*$/s, '')
  const files: Uint8Array<ArrayBuffer>[] = []
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0;) {
    const size = parseInt(text(at + 124, at + 136), 8)
    if (text(at, at + 100).endsWith('.jpg')) files.push(tar.slice(at + 512, at + 512 + size))
    at += 512 + Math.ceil(size / 512) * 512
  }
  return files
}

/** The place of the row of `rows` [n, d] that is nearest to `x` [d] by cosine, and its cosine. */
function nearest(rows: Float32Array, norms: Float64Array, x: Float32Array): number {
  let best = 0
  let most = -Infinity
  for (let row = 0; row < norms.length; row++) {
    let dot = 0
    for (let j = 0, at = row * x.length; j < x.length; j++, at++) dot += rows[at]! * x[j]!
    if (dot / norms[row]! > most) {
      most = dot / norms[row]!
      best = row
    }
  }
  return best
}

describeShared('keeplight-tiny on CIFAR-10', () => {
  const device = useDevice()

  it(
    'has the features of the reference, and the class of the nearest one',
    async () => {
      const count = FULL ? 1000 : 24
      const files = untar(gunzipSync(await readShared('data/cifar10-test.tar.gz')))
      expect(files).toHaveLength(10_000)
      const reference = parseSafetensors(
        await readGolden('features/cifar10-keeplight-tiny.safetensors'),
      )
      const test = reference.float32('test')
      const train = reference.float32('train_clean')
      const labels = reference.int32('train_labels')
      const d = 192
      const norms = Float64Array.from(labels, (_, row) => {
        return Math.hypot(...train.subarray(row * d, (row + 1) * d))
      })
      const classOf = (x: Float32Array): number => labels[nearest(train, norms, x)]!
      // Every class has as many; one picture of ten.
      const chosen = Array.from({ length: count }, (_, i) => Math.floor((i * files.length) / count))
      const wanted = chosen.map((i) => test.subarray(i * d, (i + 1) * d))
      const classes = wanted.map(classOf)
      const bytes = await readShared('weights/keeplight-tiny/model.safetensors')
      for (const [dtype, least] of DTYPES) {
        const source = bufferSource('keeplight-tiny', bytes)
        const model = await modelFromSource('keeplight-tiny', source, { device: device(), dtype })
        const pixels = new Uint8Array(count * 64 * 64 * 3)
        for (const [i, file] of chosen.entries()) {
          const { data } = preprocess(await decodePixels(files[file]!), model.preprocess)
          pixels.set(data, i * 64 * 64 * 3)
        }
        const features = await model.embedPixels(pixels)
        let equal = 0
        let worst = 1
        wanted.forEach((row, i) => {
          const feature = features.subarray(i * d, (i + 1) * d)
          worst = Math.min(worst, cosine(feature, row))
          if (classOf(feature) === classes[i]) equal++
        })
        expect(worst, `${dtype}: least cosine`).toBeGreaterThanOrEqual(least)
        const lost = { f32: 0.001, f16: 0.01, int8: 0.05 }[dtype]
        expect(equal, `${dtype}: equal classes`).toBeGreaterThanOrEqual(count * (1 - lost))
        if (FULL) console.log(`${dtype}: least cosine ${worst}, ${equal} of ${count} classes equal`)
        await model.dispose()
      }
    },
    FULL_TIMEOUT,
  )
})
