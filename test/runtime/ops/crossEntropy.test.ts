import { describe, expect, it } from 'vitest'
import { crossEntropy } from '../../../src/runtime/ops/crossEntropy.ts'
import * as reference from '../../reference/crossEntropy.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

const mean = (values: Float64Array): number[] => [
  values.reduce((sum, value) => sum + value / values.length, 0),
]

describe('crossEntropy', () => {
  const device = useDevice()

  it.each([
    { shape: [1, 2], labelSmoothing: 0 },
    { shape: [3, 15], labelSmoothing: 0.1 },
    { shape: [31, 16], labelSmoothing: 0 },
    { shape: [2, 16, 17], labelSmoothing: 0.2 },
    { shape: [33, 5], labelSmoothing: 0 },
    { shape: [3, 1030], labelSmoothing: 1 },
  ])('has the values and gradients of its f64 loops: $shape, ε $labelSmoothing', async (given) => {
    const { shape, labelSmoothing } = given
    const columns = shape.at(-1)!
    const rows = shape.slice(0, -1)
    const count = rows.reduce((a, b) => a * b)
    // One label past the end: it counts as the last class.
    const values = Uint32Array.from({ length: count }, (_, i) =>
      i === 1 ? columns : (i * 7) % columns,
    )
    const labels = device().tensor(values, rows)
    await gradcheck(device(), {
      inputs: { x: shape },
      op: ({ x }) => crossEntropy(x, labels, { labelSmoothing, reduction: 'rows' }),
      reference: ({ x }) => reference.crossEntropy(x, values, columns, labelSmoothing),
    })
    if (columns === 17) {
      await gradcheck(device(), {
        inputs: { x: shape },
        op: ({ x }) => crossEntropy(x, labels, { labelSmoothing }),
        reference: ({ x }) => mean(reference.crossEntropy(x, values, columns, labelSmoothing)),
      })
    }
    labels.dispose()
  })

  it('takes logits of any size, and masked classes', async () => {
    const x = device().tensor(Float32Array.of(1e4, -1e4, 0, -Infinity, 3, 3), [2, 3])
    const labels = device().tensor(Uint32Array.of(1, 2), [2])
    const losses = await crossEntropy(x, labels, { reduction: 'rows' }).read()
    expect(losses[0]).toBe(2e4)
    expect(losses[1]).toBeCloseTo(Math.log(2), 6)
  })

  it('names what does not fit', () => {
    const x = device().empty([4, 3])
    const labels = device().empty([4], 'u32')
    expect(errorOf(() => crossEntropy(x, device().empty([3], 'u32'))).message).toMatch(
      /crossEntropy: labels has shape \[3\], expected \[4\]/,
    )
    expect(errorOf(() => crossEntropy(x, labels, { labelSmoothing: 2 })).message).toMatch(
      /labelSmoothing is 2, expected 0 to 1/,
    )
  })
})
