import { describe, expect, it } from 'vitest'
import type { KernelVariant } from '../../src/kernels/kernel.ts'
import { matmulKernel, type MatmulOptions } from '../../src/kernels/matmul.ts'
import { activations } from '../reference/activations.ts'
import { matmul } from '../reference/matmul.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { kernelVariants, runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

const plain: MatmulOptions = {
  transposeA: false,
  transposeB: false,
  bias: false,
  activation: 'none',
  residual: false,
  variant: 'tile',
}

describe('matmul', () => {
  const device = useDevice()
  const variants = (): KernelVariant[] => kernelVariants(device())

  async function check(options: MatmulOptions, m: number, n: number, k: number): Promise<void> {
    const { transposeA, transposeB } = options
    const a = randomArray(m * k, 1)
    const b = randomArray(k * n, 2)
    const bias = randomArray(n, 3)
    const residual = randomArray(m * n, 4)
    const expected = matmul(a, b, { m, n, k }, { transposeA, transposeB }).map((sum, i) => {
      const y = activations[options.activation](options.bias ? sum + bias[i % n]! : sum)
      return options.residual ? y + residual[i]! : y
    })
    const { out } = await runKernel(
      device(),
      matmulKernel(options),
      {
        a: { data: a, shape: transposeA ? [k, m] : [m, k] },
        b: { data: b, shape: transposeB ? [n, k] : [k, n] },
        bias: { data: bias, shape: [n] },
        residual: { data: residual, shape: [m, n] },
      },
      { out: [m, n] },
      { m, n, k },
    )
    expectClose(`${options.variant} ${m}×${n}×${k}`, out!, expected, 2e-6)
  }

  const sizes = [1, 15, 16, 17, 31, 32, 33, 63, 64, 65]

  it.each(sizes)('equals f64 loops around the tile edge: m = %i', async (m) => {
    for (const variant of variants()) await check({ ...plain, variant }, m, 33, 20)
  })

  it.each(sizes)('equals f64 loops around the tile edge: n = %i', async (n) => {
    for (const variant of variants()) await check({ ...plain, variant }, 33, n, 20)
  })

  it.each([1, 2, 15, 16, 17, 129])('equals f64 loops around the k step: k = %i', async (k) => {
    for (const variant of variants()) await check({ ...plain, variant }, 20, 20, k)
  })

  it.each([
    [false, true],
    [true, false],
    [true, true],
  ])('takes stored transposes: a %s, b %s', async (transposeA, transposeB) => {
    for (const variant of variants()) {
      await check({ ...plain, transposeA, transposeB, variant }, 65, 34, 50)
      await check({ ...plain, transposeA, transposeB, variant }, 7, 130, 19)
    }
  })

  it.each(['none', 'relu', 'gelu', 'quickGelu', 'silu'] as const)(
    'fuses bias, %s and residual',
    async (activation) => {
      for (const variant of variants()) {
        await check({ ...plain, transposeB: true, bias: true, activation, variant }, 33, 65, 24)
        await check({ ...plain, bias: true, activation, residual: true, variant }, 40, 20, 24)
      }
    },
  )

  it('spills workgroups into y past the limit of one dimension', () => {
    const kernel = matmulKernel(plain)
    const [x, y] = kernel.workgroups({ m: 64 * 70_000, n: 64, k: 1 })
    expect(x).toBeLessThanOrEqual(65_535)
    expect(x * y).toBeGreaterThanOrEqual(70_000)
  })
})
