import { describe, expect, it } from 'vitest'
import { layerScale } from '../../../src/runtime/ops/layerScale.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('layerScale', () => {
  const device = useDevice()

  it('has the values and gradients of its f64 loops', async () => {
    await gradcheck(device(), {
      inputs: { x: [2, 3, 5], factor: [5] },
      op: ({ x, factor }) => layerScale(x, factor),
      reference: ({ x, factor }) => Array.from(x, (value, i) => value * factor[i % 5]!),
    })
  })

  it('names what does not fit', () => {
    const x = device().empty([2, 3])
    expect(errorOf(() => layerScale(x, device().empty([2]))).message).toBe(
      'layerScale: factor has shape [2], expected [3]',
    )
  })
})
