import { expect, it } from 'vitest'
import { tune, type LabelledImages } from '../../examples/lora.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { smallModel } from '../support/smallModel.ts'

const device = useDevice()

/** Pictures of 8×8 in two classes: the upper half is lighter than the lower one, or darker. */
function pictures(count: number, seed: number): LabelledImages {
  const labels = Int32Array.from({ length: count }, (_, i) => i % 2)
  const pixels = Array.from(labels, (label, i) => {
    const noise = randomArray(8 * 8 * 3, seed + i, 20)
    return Uint8Array.from(noise, (value, at) => {
      const upper = at < 4 * 8 * 3
      return 128 + value + (upper === (label === 0) ? 40 : -40)
    })
  })
  return { pixels, labels }
}

it('examples/lora.ts lowers the loss, and leaves the encoder as it was', async () => {
  const model = smallModel(device())
  const [train, test] = [pictures(24, 1), pictures(12, 100)]
  const before = await model.embedPixels(test.pixels[0]!)
  const steps: number[] = []
  const { frozen, adapted, losses } = await tune(model, train, test, {
    ...{ blocks: 1, rank: 4, epochs: 10, batch: 8, learningRate: 0.05 },
    onStep: (step) => steps.push(step),
  })
  expect(steps).toEqual(Array.from({ length: 30 }, (_, i) => i + 1))
  const mean = (part: readonly number[]): number => part.reduce((a, b) => a + b) / part.length
  expect(mean(losses.slice(-3))).toBeLessThan(0.7 * mean(losses.slice(0, 3)))
  expect(adapted).toBeGreaterThanOrEqual(frozen)
  expect(await model.embedPixels(test.pixels[0]!)).toEqual(before)
  await model.dispose()
})
