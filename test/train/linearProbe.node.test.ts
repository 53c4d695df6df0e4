import { describe, expect, it } from 'vitest'
import type { LinearProbeOptions } from '../../src/train/linearProbe.ts'
import { linearProbe } from '../../src/train/linearProbe.ts'
import { LinearProbeAdapter } from '../../src/train/linearProbeAdapter.ts'
import { backward } from '../../src/runtime/tape.ts'
import { crossEntropy } from '../reference/crossEntropy.ts'
import { blobs } from '../support/blobs.ts'
import { expectClose, hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

const [K, D] = [3, 8]

describe('linearProbe', () => {
  const device = useDevice()
  const { features, labels } = blobs({ clusters: K, each: 15, dimension: D, seed: 2, spread: 0.3 })
  const probe = (options: Partial<LinearProbeOptions> = {}) =>
    linearProbe(features, labels, { device: device(), minSteps: 60, epochs: 1, ...options })

  it('has the loss of f64 loops, of the labels of each run’s images, and their gradients', async () => {
    const [runs, rows] = [2, 4]
    const own = Uint32Array.of(2, 0, 1, 1, 2)
    const sizes = { runs, dimension: D, outputs: K }
    const adapter = new LinearProbeAdapter(device(), sizes, own, { labelSmoothing: 0.1 })
    adapter.initialize([1, 2])
    const data = randomArray(runs * rows * D, 3)
    const images = Uint32Array.of(0, 4, 2, 2, 3, 1, 0, 4)
    const { total } = adapter.loss({
      features: device().tensor(data, [runs, rows, D]),
      images: device().tensor(images, [runs, rows]),
      step: device().tensor(new Uint32Array(2 * runs), [runs, 2]),
    })
    const values = await adapter.parameters.read()
    const expected = (weight: ArrayLike<number>): number[] =>
      Array.from({ length: runs }, (_, run) => {
        const logits = Float64Array.from({ length: rows * K }, (_, i) => {
          const [row, k] = [run * rows + Math.floor(i / K), run * K + (i % K)]
          let sum = values.get('0.bias')![k]!
          for (let d = 0; d < D; d++) sum += data[row * D + d]! * weight[k * D + d]!
          return sum
        })
        const own32 = images.slice(run * rows, (run + 1) * rows).map((image) => own[image]!)
        return crossEntropy(logits, own32, K, 0.1).reduce((sum, loss) => sum + loss / rows, 0)
      })
    const weight = values.get('0.weight')!
    expectClose('loss', await total.read(), expected(weight), 1e-6)
    backward(total, adapter.parameters.list(), runs)
    const numeric = Float64Array.from(weight, (_, i) => {
      const at = (step: number): number =>
        expected(Float64Array.from(weight, (w, j) => (i === j ? w + step : w))).reduce(
          (a, b) => a + b,
        )
      return (at(1e-5) - at(-1e-5)) / 2e-5
    })
    expectClose(
      'gradient',
      (await adapter.parameters.read('gradients')).get('0.weight')!,
      numeric,
      1e-4,
    )
    adapter.dispose()
  })

  it('learns classes, and scores them on a seeded, stratified part that it did not see', async () => {
    const result = await probe()
    expect(result).toMatchObject({ classes: K, accuracy: 1, trainAccuracy: 1 })
    expect(result.tested).toHaveLength(9)
    expect(result.tested.map((image) => labels[image])).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2])
    expect([...result.trained, ...result.tested].sort((a, b) => a - b)).toEqual([...labels.keys()])
    expect([...result.predictions]).toEqual(result.tested.map((image) => labels[image]))
    expect(result.weights.get('0.weight')?.shape).toEqual([K, D])
    expect(result.trace.at(-1)!.total).toBeLessThan(0.5 * result.trace[0]!.total)
    const again = await probe()
    const bits = ({ weights }: typeof again): string => hashBits(weights.get('0.weight')!.data)
    expect(bits(again)).toBe(bits(result))
    expect((await probe({ seed: 1 })).tested).not.toEqual(result.tested)
  })

  it('scores given images, and labels of chance by chance', async () => {
    const other = blobs({ clusters: K, each: 4, dimension: D, seed: 2, spread: 0.31 })
    const { tested, accuracy } = await probe({ test: other })
    expect(accuracy).toBe(1)
    expect(tested).toEqual([...other.labels.keys()])
    const wrong = other.labels.map((label) => (label + 1) % K)
    expect((await probe({ test: { ...other, labels: wrong } })).accuracy).toBe(0)
  })

  it.each<[string, Int32Array, Partial<LinearProbeOptions>, RegExp]>([
    ['too few labels', labels.slice(1), {}, /44 labels for 45 images/],
    ['one class', labels.map(() => 0), {}, /all labels are 0/],
    [
      'a class of one image',
      labels.map((label, i) => (i === 0 ? 3 : label)),
      {},
      /class 3 has one/,
    ],
    ['a label beyond the classes', labels, { classes: 2 }, /labels\[30\] is 2, .* from 0 to 1/],
    ['a share of 1', labels, { holdOut: 1 }, /holdOut is 1, expected between 0 and 1/],
    ['a negative rate', labels, { learningRate: -1 }, /learningRate is -1/],
  ])('refuses %s', async (_, given, options, message) => {
    const error = await rejectionOf(linearProbe(features, given, { device: device(), ...options }))
    expect(error.message).toMatch(message)
  })
})
