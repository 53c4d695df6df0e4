import { describe, expect, it } from 'vitest'
import { patchEmbed, patchify } from '../../../src/runtime/ops/patchEmbed.ts'
import * as reference from '../../reference/patchEmbed.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'

describe('patchify', () => {
  const device = useDevice()

  it.each([
    { batch: 1, channels: 1, height: 1, width: 1, patch: 1 },
    { batch: 2, channels: 3, height: 8, width: 12, patch: 4 },
    { batch: 3, channels: 2, height: 9, width: 6, patch: 3 },
    { batch: 1, channels: 3, height: 7, width: 7, patch: 7 },
  ])('has the values and gradients of its f64 loops: %o', async (sizes) => {
    const { batch, channels, height, width, patch } = sizes
    await gradcheck(device(), {
      inputs: { x: [batch, channels, height, width] },
      op: ({ x }) => patchify(x, patch),
      reference: ({ x }) => reference.patchify(x, sizes),
      forwardTolerance: 0,
    })
  })

  it('refuses images that the patch does not divide', () => {
    const error = errorOf(() => patchify(device().empty([1, 3, 8, 10]), 4))
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(
      /^patchify: x is f32\[1, 3, 8, 10\].*multiples of the patch size 4/,
    )
    expect(errorOf(() => patchify(device().empty([3, 8, 8]), 4)).message).toContain(
      'expected [batch, channels, height, width]',
    )
  })
})

describe('patchEmbed', () => {
  const device = useDevice()

  it('equals a convolution whose stride is its kernel size', async () => {
    const sizes = { batch: 2, channels: 3, height: 8, width: 12, patch: 4 }
    await gradcheck(device(), {
      inputs: { x: [2, 3, 8, 12], weight: [5, 3, 4, 4], bias: [5] },
      op: ({ x, weight, bias }) => patchEmbed(x, weight, bias),
      reference: ({ x, weight, bias }) => reference.patchEmbed(x, weight, bias, sizes),
    })
  })

  it('names a weight that does not fit', () => {
    const x = device().empty([1, 3, 8, 8])
    expect(errorOf(() => patchEmbed(x, device().empty([5, 48]))).message).toContain(
      'expected [dimension, channels, patch, patch]',
    )
    expect(errorOf(() => patchEmbed(x, device().empty([5, 1, 4, 4]))).message).toBe(
      'patchEmbed: weight has shape [5, 1, 4, 4], expected [5, 3, 4, 4]',
    )
  })
})
