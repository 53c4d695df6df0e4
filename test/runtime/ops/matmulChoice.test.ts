import { describe, expect, it } from 'vitest'
import { matmulKernel } from '../../../src/kernels/matmul.ts'
import type { Device } from '../../../src/runtime/device.ts'
import {
  matmulChoice,
  planOf,
  rowsApart,
  type MatmulProblem,
} from '../../../src/runtime/ops/matmulChoice.ts'

/** What the choice reads of a device. */
const adapter = (kernelVariant: Device['kernelVariant']): Device =>
  ({
    kernelVariant,
    maxBindingBytes: 2 ** 27,
    limits: { maxStorageBufferBindingSize: 2 ** 27 },
  }) as unknown as Device

const gpu = adapter('tile')

const problem = (m: number, n: number, k: number, batch = 1): MatmulProblem => {
  const layout = { transposeA: false, transposeB: true }
  return { ...layout, a: 'f32', b: 'f32', out: 'f32', m, n, k, batch }
}

describe('choice of a matmul kernel', () => {
  it.each([
    ['one row', problem(1, 768, 3072), 'rows8'],
    ['a few rows', problem(16, 3072, 768), 'tile16x4'],
    ['one picture', problem(50, 768, 3072), 'tile32x4'],
    ['one picture, wide', problem(197, 3072, 768), 'tile64'],
    ['a batch of pictures', problem(3200, 3072, 768), 'tile128'],
    ['many small matrices', problem(50, 50, 64, 96), 'tile32'],
    ['the gradient of a small weight', problem(192, 192, 1024), 'tile32x4'],
    ['the same of more rows', problem(192, 192, 4096), 'tile32x4.split4'],
    ['sums of k-means', problem(200, 192, 10_000), 'tile32x4.split4'],
  ])('on a GPU: %s', (_, given, expected) => {
    expect(matmulChoice.rule(given, gpu)).toBe(expected)
  })

  it('on CPU rasterisers: by the lanes of a subgroup, with a kernel for few rows', () => {
    const rule = (device: Device, m: number): string =>
      matmulChoice.rule(problem(m, 768, 768), device)
    // Blocks of 64, 32, 16 or 8 rows, whichever leave the fewest idle for what they cost.
    const rows = [1, 8, 9, 16, 32, 50, 64, 192]
    expect(rows.map((m) => rule(adapter('subgroup8'), m))).toEqual(
      [8, 8, 16, 16, 32, 64, 64, 64].map((height) => `subgroup8r${height}`),
    )
    // Large products from packed operands, where these fit a binding.
    expect([400, 3200].map((m) => rule(adapter('subgroup8'), m))).toEqual([
      'subgroup8r32',
      'subgroup8packed',
    ])
    const small = { ...adapter('subgroup8'), maxBindingBytes: 2 ** 20 } as Device
    expect(rule(small, 384)).toBe('subgroup8r64')
    const half = (m: number): string =>
      matmulChoice.rule({ ...problem(m, 768, 768), a: 'f16' }, adapter('subgroup8'))
    expect([8, 9].map(half)).toEqual(['subgroup8few', 'subgroup8'])
    expect([4, 5].map((m) => rule(adapter('subgroup4'), m))).toEqual(['subgroup4few', 'subgroup4'])
  })

  it('on lavapipe gives the rows past the last block of 64 a dispatch of their own', () => {
    const apart = (m: number, variant: Device['kernelVariant'] = 'subgroup8'): number =>
      rowsApart(problem(m, 768, 768), adapter(variant))
    expect([8, 50, 64, 65, 128, 130, 197, 257].map((m) => apart(m))).toEqual([
      0, 0, 0, 1, 0, 0, 0, 0,
    ])
    // Not where they fill a block, where packing is better, where the weight is small, elsewhere.
    expect([127, 3201].map((m) => apart(m))).toEqual([0, 0])
    expect(rowsApart(problem(65, 10, 192), adapter('subgroup8'))).toBe(0)
    expect([apart(65, 'subgroup4'), apart(65, 'tile')]).toEqual([0, 0])
  })

  it.each([50, 197, 257, 400])(
    'takes one dispatch for a product of a vision transformer: %i rows',
    (m) => {
      const device = adapter('subgroup8')
      for (const [d, wide] of [
        [384, 1536],
        [768, 3072],
        [1024, 4096],
      ] as const) {
        for (const [n, k] of [
          [3 * d, d],
          [d, d],
          [wide, d],
          [d, wide],
        ] as const) {
          expect(matmulChoice.rule(problem(m, n, k), device)).not.toMatch(/packed/)
          expect(rowsApart(problem(m, n, k), device)).toBe(0)
        }
      }
    },
  )

  it('rules by candidates alone, and names that plans can be read from', () => {
    for (const device of [gpu, adapter('subgroup8'), adapter('subgroup4')]) {
      for (const size of [1, 8, 17, 50, 197, 1024]) {
        for (const k of [1, 64, 768, 4096, 100_000]) {
          const given = problem(size, size, k)
          const candidates = matmulChoice.candidates(given, device)
          expect(candidates).toContain(matmulChoice.rule(given, device))
          for (const name of candidates) {
            const { variant, splits } = planOf(name)
            expect(k / splits).toBeGreaterThanOrEqual(splits === 1 ? 1 : 64)
            const layout = {
              transposeA: false,
              transposeB: true,
              nativeF16: false,
              quadsA: false,
              quadsB: false,
              partial: false,
            }
            const storage = { a: 'f32', b: 'f32', out: 'f32' } as const
            const epilogue = {
              bias: false,
              activation: 'none',
              layerScale: false,
              residual: false,
            } as const
            expect(matmulKernel({ ...layout, ...storage, ...epilogue, variant }).label).toBe(
              `matmul.NT.${variant}`,
            )
          }
        }
      }
    }
  })

  it('keeps slabs within one binding', () => {
    const small = { ...adapter('tile'), limits: { maxStorageBufferBindingSize: 2 ** 18 } } as Device
    const names = matmulChoice.candidates(problem(128, 128, 4096), small)
    expect(names).toContain('tile64.split4')
    expect(names).not.toContain('tile64.split8')
  })

  it('shares what was tuned between sizes that are near, not between layouts or dtypes', () => {
    const { key } = matmulChoice
    expect(key(problem(197, 768, 768))).toBe(key(problem(200, 700, 1000)))
    expect(key(problem(197, 768, 768))).not.toBe(key(problem(400, 768, 768)))
    expect(key({ ...problem(50, 768, 768), b: 'i8' })).not.toBe(key(problem(50, 768, 768)))
    expect(key({ ...problem(50, 768, 768), transposeB: false })).not.toBe(
      key(problem(50, 768, 768)),
    )
  })
})
