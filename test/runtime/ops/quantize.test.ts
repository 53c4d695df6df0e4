import { describe, expect, it } from 'vitest'
import { floatToHalf } from '../../../src/model/half.ts'
import { toF16, toF32 } from '../../../src/runtime/ops/cast.ts'
import { quantize } from '../../../src/runtime/ops/quantize.ts'
import type { Tensor } from '../../../src/runtime/tensor.ts'
import { quantize as reference } from '../../reference/quantize.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { randomArray } from '../../support/random.ts'

describe('smaller dtypes', () => {
  const device = useDevice()

  it('quantises a weight to the bytes of plain loops, twice the same', async () => {
    const x = randomArray(21 * 13, 1)
    const weight = device().tensor(x, [21, 13])
    for (let time = 0; time < 2; time++) {
      const { values, scales } = quantize(weight)
      expect([values.toString(), scales.toString()]).toEqual(['i8[21, 13]', 'f32[21]'])
      expect(Array.from(await values.read())).toEqual(reference(x, 13).values)
    }
  })

  it('casts to f16 and back', async () => {
    const x = randomArray(15, 2)
    const half = toF16(device().tensor(x, [3, 5]))
    expect(half.toString()).toBe('f16[3, 5]')
    expect(Array.from(await half.read())).toEqual(Array.from(x, floatToHalf))
    const float = toF32(half)
    expect(float.toString()).toBe('f32[3, 5]')
    expect(Array.from(await toF16(float).read())).toEqual(Array.from(x, floatToHalf))
  })

  it('names what does not fit', () => {
    const f16 = device().empty([4, 4], 'f16') as unknown as Tensor<'f32'>
    expect(errorOf(() => toF16(f16)).message).toBe('toF16: x is f16[4, 4], expected f32')
    const f32 = device().empty([4]) as unknown as Tensor<'f16'>
    expect(errorOf(() => toF32(f32)).message).toBe('toF32: x is f32[4], expected f16')
    expect(errorOf(() => quantize(f16)).message).toBe(
      'quantize: weight is f16[4, 4], expected f32[out, in]',
    )
    const weight = device().empty([4, 4])
    weight.requiresGrad = true
    expect(errorOf(() => quantize(weight)).message).toMatch(
      /^quantize: f32\[4, 4\] requires a gradient, which would end here/,
    )
    weight.dispose()
    expect(errorOf(() => quantize(weight)).code).toBe('disposed')
  })
})
