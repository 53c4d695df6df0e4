import { expect, it } from 'vitest'
import { normalizePixels } from '../../src/model/preprocess.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { familyPreprocess } from '../../src/model/vit/config.ts'
import { readVit } from '../../src/model/vit/names.ts'
import { classRowsOf, VisionTransformer } from '../../src/model/vit/vit.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import { useDevice } from '../support/device.ts'
import { describeShared, readShared } from '../support/golden.ts'

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
})
