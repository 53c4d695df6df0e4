import { describe, expect, it } from 'vitest'
import { floatToHalf, halfToFloat } from '../../../src/model/half.ts'
import { toF16 } from '../../../src/runtime/ops/cast.ts'
import { linear, type LinearWeight } from '../../../src/runtime/ops/linear.ts'
import { quantize, type QuantizedWeight } from '../../../src/runtime/ops/quantize.ts'
import { withoutTape } from '../../../src/runtime/tape.ts'
import type { Tensor } from '../../../src/runtime/tensor.ts'
import { activations } from '../../reference/activations.ts'
import * as reference from '../../reference/matmul.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { gradcheck } from '../../support/gradcheck.ts'
import { randomArray } from '../../support/random.ts'

describe('linear', () => {
  const device = useDevice()

  it.each(['none', 'relu', 'gelu', 'quickGelu', 'silu'] as const)(
    'has the values and gradients of its f64 loops with bias, %s and residual',
    async (activation) => {
      const [m, n, k] = [6, 5, 4]
      await gradcheck(device(), {
        inputs: { x: [2, 3, k], weight: [n, k], bias: [n], residual: [2, 3, n] },
        op: ({ x, weight, bias, residual }) => linear(x, weight, bias, { activation, residual }),
        reference: ({ x, weight, bias, residual }) =>
          reference
            .matmul(x, weight, { m, n, k }, { transposeB: true })
            .map((sum, i) => activations[activation](sum + bias[i % n]!) + residual[i]!),
      })
    },
  )

  it.each(['none', 'gelu'] as const)(
    'has the values and gradients of its f64 loops with %s, layer scale and residual',
    async (activation) => {
      const [m, n, k] = [6, 5, 4]
      await gradcheck(device(), {
        inputs: { x: [m, k], weight: [n, k], bias: [n], layerScale: [n], residual: [m, n] },
        op: ({ x, weight, bias, layerScale, residual }) =>
          linear(x, weight, bias, { activation, layerScale, residual }),
        reference: ({ x, weight, bias, layerScale, residual }) =>
          reference.matmul(x, weight, { m, n, k }, { transposeB: true }).map((sum, i) => {
            const y = activations[activation](sum + bias[i % n]!)
            return y * layerScale[i % n]! + residual[i]!
          }),
      })
    },
  )

  it('needs neither bias nor residual', async () => {
    await gradcheck(device(), {
      inputs: { x: [3, 4], weight: [2, 4] },
      op: ({ x, weight }) => linear(x, weight),
      reference: ({ x, weight }) =>
        reference.matmul(x, weight, { m: 3, n: 2, k: 4 }, { transposeB: true }),
    })
  })

  it('names what does not fit', () => {
    const [x, weight] = [device().empty([2, 3]), device().empty([5, 3])]
    expect(errorOf(() => linear(x, device().empty([3, 5]))).message).toMatch(
      /^linear: x f32\[2, 3\] and weight f32\[3, 5\]: expected x \[..., in\] and weight \[out, in\]/,
    )
    expect(errorOf(() => linear(x, weight, device().empty([3]))).message).toBe(
      'linear: bias has shape [3], expected [5]',
    )
    const residual = device().empty([2, 3])
    expect(errorOf(() => linear(x, weight, undefined, { residual })).message).toBe(
      'linear: residual has shape [2, 3], expected [2, 5]',
    )
  })

  const half = (values: Float32Array): Tensor<'f16'> =>
    device().tensor(Uint16Array.from(values, floatToHalf), [values.length / 9, 9])

  it('fuses everything into one dispatch where no gradient is asked for, the composed op otherwise', async () => {
    const [m, n, k] = [7, 9, 9]
    const [x, weight] = [
      device().tensor(randomArray(m * k, 1), [m, k]),
      device().tensor(randomArray(n * k, 2), [n, k]),
    ]
    const [bias, layerScale] = [
      device().tensor(randomArray(n, 3), [n]),
      device().tensor(randomArray(n, 4), [n]),
    ]
    const residual = device().tensor(randomArray(m * n, 5), [m, n])
    const run = (): Tensor<'f32'> =>
      linear(x, weight, bias, { activation: 'silu', layerScale, residual })
    const before = device().stats().dispatches
    const fused = run()
    expect(device().stats().dispatches - before).toBe(1)
    weight.requiresGrad = true
    const composed = run()
    expect(device().stats().dispatches - before).toBeGreaterThan(3)
    expectClose('fused', await fused.read(), await composed.read(), 1e-6)
  })

  describe.each(['f16', 'i8'] as const)('with a frozen weight of %s', (dtype) => {
    const [m, n, k] = [6, 5, 9]

    async function frozen(): Promise<{ weight: LinearWeight; values: number[] }> {
      const values = randomArray(n * k, 3)
      if (dtype === 'f16') {
        return {
          weight: half(values),
          values: Array.from(values, (x) => halfToFloat(floatToHalf(x))),
        }
      }
      const weight = quantize(device().tensor(values, [n, k]))
      const [bytes, scales] = [await weight.values.read(), await weight.scales.read()]
      return { weight, values: Array.from(bytes, (q, i) => q * scales[Math.floor(i / k)]!) }
    }

    it('has the values of what is stored, and the gradients of x', async () => {
      const { weight, values } = await frozen()
      await gradcheck(device(), {
        inputs: { x: [2, 3, k], bias: [n], residual: [2, 3, n] },
        op: ({ x, bias, residual }) => linear(x, weight, bias, { activation: 'gelu', residual }),
        reference: ({ x, bias, residual }) =>
          reference
            .matmul(x, values, { m, n, k }, { transposeB: true })
            .map((sum, i) => activations.gelu(sum + bias[i % n]!) + residual[i]!),
      })
    })

    it('says that such a weight can not be trained', async () => {
      const { weight } = await frozen()
      const x = device().empty([m, k])
      const stored = 'values' in weight ? weight.values : weight
      stored.requiresGrad = true
      expect(errorOf(() => linear(x, weight)).message).toBe(
        `linear: weight ${dtype}[5, 9] requires a gradient, and only f32 tensors have one; ` +
          'freeze it (requiresGrad = false), or train a copy in f32',
      )
    })
  })

  /**
   * Half a step of f16 is 2^-11 of a value, and x, weight and residual are exact in f16 here, so what is
   * left is the rounding of the output: at most 4.9e-4 of the largest.
   */
  it('takes and gives f16 activations, with sums in f32', async () => {
    const [m, n, k] = [3, 9, 9]
    const exact = (size: number, seed: number): Float32Array<ArrayBuffer> =>
      randomArray(size, seed).map((x) => halfToFloat(floatToHalf(x)))
    const [x, weight, residual] = [exact(m * k, 1), exact(n * k, 2), exact(m * n, 3)]
    const out = linear(half(x), half(weight), undefined, {
      activation: 'relu',
      residual: half(residual),
      dtype: 'f16',
    })
    expect(out.toString()).toBe('f16[3, 9]')
    const expected = reference
      .matmul(x, weight, { m, n, k }, { transposeB: true })
      .map((sum, i) => Math.max(sum, 0) + residual[i]!)
    expectClose('f16 out', Array.from(await out.read(), halfToFloat), expected, 4.9e-4)
    const wide = linear(half(x), device().tensor(weight, [n, k]))
    const sums = reference.matmul(x, weight, { m, n, k }, { transposeB: true })
    expectClose('f32 out', await wide.read(), sums, 2e-6)
  })

  /**
   * What smaller weights cost, at the width of a ViT-B and with an outlier of 100 among activations. A
   * weight rounded to f16 is off by at most 2^-11 of itself, squared and averaged 2^-22 / 3 = 8e-8. One
   * in int8 is off by scale² / 12, where the largest of 768 normal weights, 127 scales, is about 3.2 to
   * 4 σ: 5e-5 to 8.3e-5 of σ². Sums over k neither help nor hurt: both errors are independent.
   */
  it('costs what the rounding of weights explains: 1e-7 in f16, 1e-4 in int8', async () => {
    const [m, n, k] = [5, 64, 768]
    const normal = (size: number, seed: number): Float32Array<ArrayBuffer> => {
      const [u, v] = [randomArray(size, seed), randomArray(size, seed + 1)]
      return u.map((x, i) => {
        const radius = Math.sqrt(-2 * Math.log((x + 1) / 2 + 1e-9))
        return radius * Math.cos(Math.PI * v[i]!)
      })
    }
    const values = normal(m * k, 1)
    for (let row = 0; row < m; row++) values[row * k + 17] = 100
    const weights = normal(n * k, 3)
    const expected = reference.matmul(values, weights, { m, n, k }, { transposeB: true })
    const x = device().tensor(values, [m, k])
    const weight = device().tensor(weights, [n, k])
    const error = async (small: LinearWeight): Promise<number> =>
      reference.normalizedError(await linear(x, small).read(), expected)
    expect(await error(weight)).toBeLessThan(1e-11)
    const [inHalf, inBytes] = [await error(toF16(weight)), await error(quantize(weight))]
    expect(inHalf).toBeGreaterThan(1e-9)
    expect(inHalf).toBeLessThan(1e-7)
    expect(inBytes).toBeGreaterThan(1e-6)
    expect(inBytes).toBeLessThan(1e-4)
  })

  it('names dtypes that do not fit', () => {
    const x = device().empty([2, 3])
    const bytes = device().empty([5, 3], 'i8')
    expect(errorOf(() => linear(x, bytes as unknown as Tensor<'f16'>)).message).toBe(
      'linear: weight i8[5, 3] has no scales; give { values, scales } as quantize() does',
    )
    const scales = device().empty([4])
    expect(errorOf(() => linear(x, { values: bytes, scales })).message).toBe(
      'linear: scales has shape [4], expected [5]',
    )
    const words = device().empty([5], 'u32') as unknown as Tensor<'f32'>
    expect(errorOf(() => linear(x, { values: bytes, scales: words })).message).toBe(
      'linear: weight.scales is u32[5], expected f32',
    )
    const weight = device().empty([5, 3])
    const residual = device().empty([2, 5], 'f16')
    expect(errorOf(() => linear(x, weight, undefined, { residual })).message).toBe(
      'linear: residual of this output is f16[2, 5], expected f32',
    )
    const trained: QuantizedWeight = { values: bytes, scales: device().empty([5]) }
    trained.scales.requiresGrad = true
    expect(errorOf(() => linear(x, trained)).message).toMatch(
      /^linear: the scales of an int8 weight/,
    )
    weight.requiresGrad = true
    expect(errorOf(() => linear(x, weight, undefined, { dtype: 'f16' })).message).toMatch(
      /^linear: an f16 output carries no gradient; leave out dtype/,
    )
    expect(errorOf(() => toF16(weight)).message).toMatch(/^toF16: f32\[5, 3\] requires a gradient/)
    expect(withoutTape(() => toF16(weight)).dtype).toBe('f16')
  })
})
