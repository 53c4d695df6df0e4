import { describe, expect, it } from 'vitest'
import {
  matmulKernel,
  sumsRows,
  type MatmulOptions,
  type MatmulVariant,
} from '../../src/kernels/matmul.ts'
import { matmulPackKernel, packedSize, type PackOptions } from '../../src/kernels/matmulPack.ts'
import { matmulReduceKernel } from '../../src/kernels/matmulReduce.ts'
import { floatToHalf, halfToFloat } from '../../src/model/half.ts'
import { matmulChoice } from '../../src/runtime/ops/matmulChoice.ts'
import { matmul as matmulOp } from '../../src/runtime/ops/matmul.ts'
import { activations } from '../reference/activations.ts'
import { matmul, normalizedError } from '../reference/matmul.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { kernelVariants, runKernel, type Operand } from '../support/kernels.ts'
import { supports } from '../support/leftOut.ts'
import { randomArray } from '../support/random.ts'

const plain: MatmulOptions = {
  transposeA: false,
  transposeB: false,
  a: 'f32',
  b: 'f32',
  out: 'f32',
  nativeF16: false,
  quadsA: false,
  quadsB: false,
  bias: false,
  activation: 'none',
  layerScale: false,
  residual: false,
  partial: false,
  variant: 'tile32',
}

/** Rows and columns of a workgroup's block. */
const BLOCKS: Readonly<Record<MatmulVariant, readonly [number, number]>> = {
  tile128: [128, 64],
  tile64: [64, 64],
  tile32: [32, 32],
  tile32x4: [32, 32],
  tile16: [16, 64],
  tile16x4: [16, 64],
  rows8: [8, 16],
  subgroup8: [16, 32],
  subgroup8few: [8, 32],
  subgroup8r64: [64, 32],
  subgroup8r32: [32, 32],
  subgroup8r16: [16, 32],
  subgroup8r8: [8, 32],
  subgroup8packed: [32, 32],
  subgroup4: [16, 16],
  subgroup4few: [4, 16],
}

interface Problem {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly batch?: number
  readonly shared?: 'a' | 'b'
  /** Length of a stretch of k, for partial sums. */
  readonly depth?: number
}

/** Values as a kernel reads them: the array to upload, and the numbers it stands for. */
function stored(
  storage: 'f32' | 'f16' | 'i8',
  size: number,
  seed: number,
): [Operand['data'], ArrayLike<number>] {
  const values = randomArray(size, seed)
  if (storage === 'f32') return [values, values]
  if (storage === 'i8') {
    const bytes = Int8Array.from(values, (x) => Math.round(x * 127))
    return [bytes, bytes]
  }
  const halves = Uint16Array.from(values, floatToHalf)
  return [halves, Float32Array.from(halves, halfToFloat)]
}

describe('matmul', () => {
  const device = useDevice()
  const lanes = (): MatmulVariant[] =>
    kernelVariants(device()).flatMap((kind): MatmulVariant[] => {
      if (kind === 'tile') return []
      if (kind === 'subgroup4') return ['subgroup4', 'subgroup4few']
      const heights = [64, 32, 16, 8] as const
      return [
        'subgroup8',
        'subgroup8few',
        ...heights.map((height) => `subgroup8r${height}` as const),
        'subgroup8packed',
      ]
    })
  const hasNativeF16 = (): boolean => supports(device(), 'shader-f16', 'native f16 in matmul')
  const variants = (): MatmulVariant[] => [
    ...(['tile128', 'tile64', 'tile32', 'tile32x4', 'tile16', 'tile16x4', 'rows8'] as const),
    ...lanes(),
  ]
  /** One of each way of staging and of storing. */
  const kinds = (): MatmulVariant[] => ['tile32', 'rows8', ...lanes().slice(0, 1)]

  /** Runs a kernel and compares with f64 loops over the values that it was given. */
  async function check(options: MatmulOptions, problem: Problem): Promise<void> {
    const { m, n, k, batch = 1, shared, depth = k } = problem
    const { transposeA, transposeB, partial } = options
    const stretches = Math.ceil(k / depth)
    const [batchA, batchB] = [shared === 'a' ? 1 : batch, shared === 'b' ? 1 : batch]
    const [a, valuesA] = stored(options.a, batchA * m * k, 1)
    const [b, valuesB] = stored(options.b, batchB * k * n, 2)
    const scaled = options.b === 'i8'
    const scales = randomArray(transposeB ? n : k, 3)
    const [bias, layerScale] = [randomArray(n, 4), randomArray(n, 5)]
    const residual = randomArray(batch * m * n, 6)
    const expected: number[] = []
    for (let slab = 0; slab < stretches * batch; slab++) {
      const item = slab % batch
      const start = Math.floor(slab / batch) * depth
      const part = (i: number): boolean => i >= start && i < start + depth
      const matrixA = Array.from(valuesA).slice(
        ...(shared === 'a' ? [] : [item * m * k, (item + 1) * m * k]),
      )
      const matrixB = Array.from(valuesB).slice(
        ...(shared === 'b' ? [] : [item * k * n, (item + 1) * k * n]),
      )
      const weights = matrixB.map((value, i) => {
        const [inner, column] = transposeB ? [i % k, Math.floor(i / k)] : [Math.floor(i / n), i % n]
        const scale = !scaled || (partial && transposeB) ? 1 : scales[transposeB ? column : inner]!
        return part(inner) ? value * scale : 0
      })
      matmul(matrixA, weights, { m, n, k }, { transposeA, transposeB }).forEach((sum, i) => {
        const column = i % n
        const y = activations[options.activation](options.bias ? sum + bias[column]! : sum)
        const z = options.layerScale ? y * layerScale[column]! : y
        expected.push(options.residual ? z + residual[item * m * n + i]! : z)
      })
    }
    const packed = options.variant === 'subgroup8packed'
    const operand = async (
      data: Operand['data'],
      pack: PackOptions,
      sizes: { readonly batch: number; readonly edge: number; readonly k: number },
    ): Promise<Operand> => {
      if (!packed) return { data, shape: [data.length] }
      const shape = [packedSize(sizes)]
      const x = { data, shape: [data.length] }
      const { out } = await runKernel(
        device(),
        matmulPackKernel(pack),
        { x },
        { out: shape },
        sizes,
      )
      return { data: out!, shape }
    }
    const [left, right] = [
      await operand(
        a,
        { alongK: !transposeA, quads: options.quadsA },
        { batch: batchA, edge: m, k },
      ),
      await operand(
        b,
        { alongK: transposeB, quads: options.quadsB },
        { batch: batchB, edge: n, k },
      ),
    ]
    const { out } = await runKernel(
      device(),
      matmulKernel(options),
      {
        a: left,
        b: right,
        scales: { data: scales, shape: [scales.length] },
        bias: { data: bias, shape: [n] },
        layerScale: { data: layerScale, shape: [n] },
        residual: { data: residual, shape: [residual.length] },
      },
      { out: [expected.length] },
      {
        m,
        n,
        k,
        batch,
        strideA: shared === 'a' ? 0 : left.data.length / batch,
        strideB: shared === 'b' ? 0 : right.data.length / batch,
        slabs: stretches * batch,
        depth,
      },
    )
    expectClose(`${matmulKernel(options).label} ${m}×${n}×${k}`, out!, expected, 2e-6)
  }

  it('equals f64 loops around the edges of every tile, and of every step of k', async () => {
    for (const variant of variants()) {
      const [rows, columns] = BLOCKS[variant]
      const edges = (size: number): number[] => [1, size - 1, size, size + 1, 2 * size + 1]
      for (const m of edges(rows)) await check({ ...plain, variant }, { m, n: columns + 3, k: 20 })
      for (const n of edges(columns)) await check({ ...plain, variant }, { m: 5, n, k: 20 })
      for (const k of [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 129]) {
        await check({ ...plain, variant }, { m: 9, n: 18, k })
      }
    }
  })

  it('multiplies every matrix of a batch, with operands of their own or shared', async () => {
    for (const variant of variants()) {
      const [rows, columns] = BLOCKS[variant]
      const size = { m: rows + 1, n: columns + 1, k: 19 }
      await check({ ...plain, variant }, { ...size, batch: 3 })
      await check({ ...plain, variant }, { ...size, batch: 2, shared: 'a' })
      await check({ ...plain, variant }, { ...size, batch: 2, shared: 'b' })
    }
  })

  it.each([
    [false, true],
    [true, false],
    [true, true],
  ])('takes stored transposes: a %s, b %s', async (transposeA, transposeB) => {
    for (const variant of kinds()) {
      const options = { ...plain, transposeA, transposeB, variant }
      await check(options, { m: 65, n: 34, k: 50 })
      await check(options, { m: 7, n: 130, k: 19, batch: 2 })
    }
  })

  it.each(['none', 'relu', 'gelu', 'quickGelu', 'silu'] as const)(
    'fuses bias, %s, layer scale and residual',
    async (activation) => {
      const fused = { ...plain, bias: true, activation, layerScale: true, residual: true }
      const problem = { m: 33, n: 65, k: 24, batch: 2 }
      await check({ ...fused, variant: lanes()[0] ?? 'tile32' }, problem)
      if (activation === 'gelu') await check(fused, problem)
    },
  )

  it('fuses each part of the epilogue alone', async () => {
    for (const part of ['bias', 'layerScale', 'residual']) {
      const variant = lanes()[0] ?? 'tile32'
      await check({ ...plain, [part]: true, variant }, { m: 17, n: 33, k: 24 })
    }
  })

  /** Odd k: rows of B then start within a word. */
  it.each(['f16', 'i8'] as const)('reads %s operands, over the edges of words too', async (b) => {
    for (const nativeF16 of b === 'f16' && hasNativeF16() ? [false, true] : [false]) {
      for (const variant of kinds()) {
        const options = { ...plain, b, nativeF16, variant }
        const nt = { ...options, transposeB: true, a: b === 'f16' ? 'f16' : 'f32' } as const
        for (const k of [1, 31, 34, 37]) await check(nt, { m: 18, n: 35, k })
        // The scales of an int8 weight belong to k here, and to the columns above.
        if (b === 'i8') await check(options, { m: 9, n: 21, k: 33, batch: 2 })
      }
    }
  })

  it('reads quads where rows in memory are multiples of four', async () => {
    const fours = { ...plain, quadsA: true, quadsB: true }
    const sizes = [
      { m: 4, n: 4, k: 4 },
      { m: 28, n: 36, k: 20 },
      { m: 36, n: 68, k: 36, batch: 2 },
    ]
    const f16 = { ...fours, transposeB: true, a: 'f16', b: 'f16' } as const
    const native = hasNativeF16() ? [{ ...f16, nativeF16: true }] : []
    for (const options of [
      { ...fours, variant: 'tile32' },
      { ...fours, transposeA: true, variant: 'tile32' },
      { ...fours, transposeB: true, variant: 'tile32x4' },
      { ...fours, transposeB: true, variant: 'rows8' },
      { ...fours, b: 'i8', variant: 'tile32' },
      { ...fours, b: 'i8', transposeB: true, variant: 'tile32' },
      ...[f16, ...native].map((half) => ({ ...half, variant: 'tile32' }) as const),
    ] as const) {
      for (const size of sizes) await check(options, size)
    }
    // One operand alone: the rows of the other end where they like.
    await check({ ...plain, quadsA: true, variant: 'tile32' }, { m: 33, n: 35, k: 36 })
    const nt = { ...fours, transposeB: true, variant: 'rows8' } as const
    await check(nt, { m: 9, n: 19, k: 132 })
  })

  it('multiplies in every layout by high blocks of one subgroup', async () => {
    if (!lanes().includes('subgroup8r16')) return expect(lanes()).not.toContain('subgroup8')
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const options = { ...plain, transposeA, transposeB, variant: 'subgroup8r16' } as const
        const fours = { ...options, quadsA: true, quadsB: true }
        for (const m of [4, 12, 16, 20]) await check(fours, { m, n: 36, k: 12, batch: 2 })
        await check(fours, { m: 36, n: 68, k: 40, shared: 'b', batch: 2 })
        await check(options, { m: 17, n: 34, k: 19, batch: 2 })
        // Rows of A lie along k or m, those of B along n or k: quads of one without the other's.
        const [m, n, k] = [transposeA ? 20 : 19, transposeB ? 35 : 36, 9]
        if (transposeA) await check({ ...options, quadsA: true }, { m, n, k })
        if (!transposeB) await check({ ...options, quadsB: true }, { m, n, k })
      }
    }
    const nt = { ...plain, transposeB: true, quadsA: true, quadsB: true } as const
    for (const m of [63, 65]) await check({ ...nt, variant: 'subgroup8r64' }, { m, n: 33, k: 20 })
    const partial = { ...nt, partial: true, variant: 'subgroup8r16' } as const
    await check(partial, { m: 9, n: 37, k: 72, depth: 32 })
  })

  it('multiplies packed operands, however they were stored', async () => {
    if (!lanes().includes('subgroup8packed')) return expect(lanes()).not.toContain('subgroup8')
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const options = { ...plain, transposeA, transposeB, variant: 'subgroup8packed' } as const
        await check(options, { m: 33, n: 31, k: 19, batch: 2 })
        const fours = { ...options, quadsA: true, quadsB: true }
        await check(fours, { m: 36, n: 68, k: 40, batch: 2 })
        await check({ ...fours, bias: true, residual: true }, { m: 64, n: 28, k: 8 })
      }
    }
  })

  it('writes the sums over each stretch of k, and adds them up with the epilogue', async () => {
    for (const variant of kinds()) {
      await check({ ...plain, partial: true, variant }, { m: 9, n: 37, k: 70, depth: 32 })
    }
    const [variant] = kinds()
    const weight = { ...plain, transposeB: true, b: 'i8', partial: true, variant } as const
    await check(weight, { m: 9, n: 37, k: 70, batch: 2, depth: 32 })

    const [rows, n, slabs] = [7, 19, 5]
    const size = rows * n
    const arrays = [slabs * size, n, n, n, size].map((count, i) => randomArray(count, i))
    const [partial, scales, bias, layerScale, residual] = arrays as [
      Float32Array,
      ...Float32Array[],
    ] as Float32Array<ArrayBuffer>[]
    const expected = Array.from({ length: size }, (_, i) => {
      let sum = 0
      for (let slab = 0; slab < slabs; slab++) sum += partial![slab * size + i]!
      const y = activations.gelu(sum * scales![i % n]! + bias![i % n]!)
      return y * layerScale![i % n]! + residual![i]!
    })
    const operand = (data: Float32Array<ArrayBuffer>): Operand => ({ data, shape: [data.length] })
    const { out } = await runKernel(
      device(),
      matmulReduceKernel({
        scales: true,
        bias: true,
        activation: 'gelu',
        layerScale: true,
        residual: true,
        out: 'f32',
      }),
      {
        partial: operand(partial!),
        scales: operand(scales!),
        bias: operand(bias!),
        layerScale: operand(layerScale!),
        residual: operand(residual!),
      },
      { out: [size] },
      { size, m: rows, n, slabs },
    )
    expectClose('matmulReduce', out!, expected, 2e-6)
  })

  it('gives the right product by every candidate that can be forced', async () => {
    const shapes = [
      { m: 33, n: 50, k: 513 },
      { m: 1, n: 70, k: 129 },
    ]
    const seen = new Set<string>()
    for (const { m, n, k } of shapes) {
      const problem = { ...plain, m, n, k, batch: 1 }
      const [a, b] = [randomArray(m * k, 1), randomArray(k * n, 2)]
      const expected = matmul(a, b, { m, n, k })
      const [left, right] = [device().tensor(a, [m, k]), device().tensor(b, [k, n])]
      const candidates = matmulChoice.candidates(problem, device())
      expect(candidates).toContain(matmulChoice.rule(problem, device()))
      for (const name of candidates) {
        seen.add(name.split('.')[0]!)
        device().choices.set('matmul', matmulChoice.key(problem), name)
        const out = matmulOp(left, right)
        const error = normalizedError(await out.read(), expected)
        expect(error, `${name} at ${m}×${n}×${k}`).toBeLessThan(1e-10)
        out.dispose()
      }
      left.dispose()
      right.dispose()
    }
    device().choices.clear()
    expect([...seen].sort()).toEqual([...variants()].sort())
  })

  it('spills workgroups into y past the limit of one dimension', () => {
    const rest = { k: 1, batch: 1, strideA: 0, strideB: 0, slabs: 1, depth: 1 }
    const kernel = matmulKernel({ ...plain, variant: 'tile64' })
    const [x, y] = kernel.workgroups({ m: 64 * 70_000, n: 64, ...rest })
    expect(x).toBeLessThanOrEqual(65_535)
    expect(x * y).toBeGreaterThanOrEqual(70_000)
  })

  it('sums the rows of op(A) on the way, in the variants that can', async () => {
    const summing = variants().filter(sumsRows)
    expect(summing).toContain('tile32x4')
    for (const variant of summing) {
      const [block] = BLOCKS[variant]
      for (const [m, n, k] of [
        [block - 1, 70, 33],
        [block + 1, 5, 129],
      ] as const) {
        const quads = { quadsA: m % 4 === 0, quadsB: n % 4 === 0 }
        const options = { ...plain, ...quads, transposeA: true, rowSums: true, variant }
        const [a, b] = [randomArray(m * k, 1), randomArray(k * n, 2)]
        const { out, rowSums } = await runKernel(
          device(),
          matmulKernel(options),
          { a: { data: a, shape: [k, m] }, b: { data: b, shape: [k, n] } },
          { out: [m, n], rowSums: [m] },
          { m, n, k, batch: 1, strideA: 0, strideB: 0, slabs: 1, depth: k },
        )
        const layout = { transposeA: true, transposeB: false }
        expectClose(`${variant} ${m}×${n}×${k}`, out!, matmul(a, b, { m, n, k }, layout), 2e-6)
        const sums = Array.from({ length: m }, (_, row) => {
          let sum = 0
          for (let step = 0; step < k; step++) sum += a[step * m + row]!
          return sum
        })
        expectClose(`row sums of ${variant} ${m}×${n}×${k}`, rowSums!, sums, 2e-6)
      }
    }
  })
})
