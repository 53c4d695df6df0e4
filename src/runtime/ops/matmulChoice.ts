import type { MatmulOptions, MatmulVariant } from '../../kernels/matmul.ts'
import { packedSize } from '../../kernels/matmulPack.ts'
import type { KernelChoice } from '../choice.ts'
import type { Device } from '../device.ts'

/** What the choice of a matmul kernel depends on. */
export interface MatmulProblem extends Pick<
  MatmulOptions,
  'transposeA' | 'transposeB' | 'a' | 'b' | 'out'
> {
  readonly m: number
  readonly n: number
  readonly k: number
  readonly batch: number
  /** The rule prefers variants that sum op(A)'s rows on the way, where that costs them little. */
  readonly rowSums?: boolean
}

/** A kernel, and into how many stretches k is split over workgroups. */
export interface MatmulPlan {
  readonly variant: MatmulVariant
  readonly splits: number
}

/** `tile32`, or `tile32.split4`: the names that {@link matmulChoice} gives to plans. */
const nameOf = ({ variant, splits }: MatmulPlan): string =>
  splits === 1 ? variant : `${variant}.split${splits}`

export function planOf(name: string): MatmulPlan {
  const [variant, splits] = name.split('.split')
  return { variant: variant as MatmulVariant, splits: Number(splits ?? 1) }
}

/** Rows and columns of the output that one workgroup owns. */
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

const TILES = ['tile128', 'tile64', 'tile32', 'tile32x4', 'tile16', 'tile16x4', 'rows8'] as const

function workgroups(variant: MatmulVariant, { m, n, batch }: MatmulProblem): number {
  const [rows, columns] = BLOCKS[variant]
  return Math.ceil(m / rows) * Math.ceil(n / columns) * batch
}

/** Below this many workgroups of 256 threads, multiprocessors of a large GPU stand idle (an H100 has 132). */
const BUSY = 128
/** Workgroups so few that a second dispatch, which adds up stretches of k, costs less than it gains. */
const IDLE = 48
/** A stretch of k shorter than this takes less time than the dispatch that adds the stretches up. */
const MIN_DEPTH = 1024
/** Into how many stretches k may be split. */
const SPLITS = [2, 4, 8, 16]
const MOST_SPLITS = Math.max(...SPLITS)

/**
 * GPUs: the largest tile that still makes enough workgroups; for fewer, small tiles whose threads share
 * k; for very few and a long k, stretches of k in workgroups of their own.
 */
function hardwareRule(problem: MatmulProblem): MatmulPlan {
  const { m, k } = problem
  const variant = hardwareVariant(problem)
  let splits = 1
  const blocks = workgroups(variant, problem)
  if (m > 8 && blocks < IDLE) {
    const worth = (count: number): boolean => blocks * count < BUSY && k >= 2 * count * MIN_DEPTH
    while (splits < MOST_SPLITS && worth(splits)) splits *= 2
  }
  return { variant, splits }
}

function hardwareVariant(problem: MatmulProblem): MatmulVariant {
  const { m, k, rowSums } = problem
  if (m <= 8 && !rowSums) return 'rows8'
  if (m > 64 && workgroups('tile128', problem) >= 4 * BUSY) return 'tile128'
  if (m > 32 && workgroups('tile64', problem) >= BUSY) return 'tile64'
  const few = m <= 16 ? 'tile16' : 'tile32'
  return k >= 128 ? `${few}x4` : few
}

/** What a block of that many rows takes on lavapipe, as measured, in units of its own (`bench/NOTES.md`). */
const TALL_COSTS = [
  ['subgroup8r64', 64, 41],
  ['subgroup8r32', 32, 22],
  ['subgroup8r16', 16, 14],
  ['subgroup8r8', 8, 11],
] as const

const isF32 = ({ a, b, out }: MatmulProblem): boolean => a === 'f32' && b === 'f32' && out === 'f32'

/** The block height that makes the least of m rows: high blocks load less, low ones waste less. */
function tallest(m: number): { readonly variant: MatmulVariant; readonly cost: number } {
  const costs = TALL_COSTS.map(([variant, rows, cost]) => ({
    variant,
    cost: Math.ceil(m / rows) * cost,
  }))
  return costs.reduce((best, each) => (each.cost < best.cost ? each : best))
}

/**
 * What a second dispatch must save of the product, of a weight of this size at least. A ninth, as at 197 or
 * 400 rows, is not worth half as many dispatches again in a forward pass.
 */
const SECOND_DISPATCH = 0.2
const SECOND_WEIGHT = 2 ** 15

/**
 * How many of the last rows of a product are better multiplied by a dispatch of their own: on lavapipe,
 * where blocks have 64 rows and a picture's tokens may be 65.
 */
export function rowsApart(problem: MatmulProblem, device: Device): number {
  const { m, n, k, batch, transposeA } = problem
  if (lanesOf(device) !== 8 || !isF32(problem) || transposeA || batch > 1) return 0
  const rest = m % 64
  if (rest === 0 || rest === m || n * k < SECOND_WEIGHT || worthPacking(problem)) return 0
  const whole = tallest(m).cost
  const saved = whole - tallest(m - rest).cost - tallest(rest).cost
  return saved >= SECOND_DISPATCH * whole ? rest : 0
}

/**
 * Rows and columns, as m·n / (m + n), from which on operands are packed. That costs each of them once what
 * the product costs for about 28 rows or columns (`bench/NOTES.md`), and saves a sixth and more: it pays from
 * 250 on, but triples the dispatches, which a forward pass of a few images should keep few.
 */
const PACKED_SIZE = 600

const worthPacking = ({ m, n, k }: MatmulProblem): boolean =>
  (m * n) / (m + n) >= PACKED_SIZE && k >= 64

/** Whether kernels for packed operands can run it. */
function packable(problem: MatmulProblem, { maxBindingBytes }: Device): boolean {
  const { m, n, k, batch } = problem
  const most = 4 * Math.max(packedSize({ batch, edge: m, k }), packedSize({ batch, edge: n, k }))
  return isF32(problem) && most <= maxBindingBytes
}

/** CPU rasterisers: one subgroup a workgroup; a kernel of fewer rows where most would be repeated. */
function softwareRule(problem: MatmulProblem, lanes: 4 | 8, device: Device): MatmulPlan {
  const { m, rowSums } = problem
  if (lanes === 8 && worthPacking(problem) && packable(problem, device)) {
    return { variant: 'subgroup8packed', splits: 1 }
  }
  // For few rows the slower kernel costs less than another dispatch.
  const summing = rowSums && m <= 16
  if (lanes === 8 && isF32(problem) && !summing) return { variant: tallest(m).variant, splits: 1 }
  const variant = m <= lanes ? (`subgroup${lanes}few` as const) : (`subgroup${lanes}` as const)
  return { variant, splits: 1 }
}

const lanesOf = ({ kernelVariant }: Device): 4 | 8 | undefined =>
  kernelVariant === 'subgroup8' ? 8 : kernelVariant === 'subgroup4' ? 4 : undefined

/** The next power of two: sizes that share what was tuned. */
const coarse = (size: number): number => 2 ** Math.ceil(Math.log2(size))

/** Which matmul kernel runs a problem, and whether k is split over workgroups. */
export const matmulChoice: KernelChoice<MatmulProblem> = {
  family: 'matmul',
  key({ m, n, k, batch, transposeA, transposeB, a, b, out }) {
    const layout = `${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'}`
    return `${layout} ${a}×${b}→${out} ${[batch, m, n, k].map(coarse).join('×')}`
  },
  candidates(problem, device) {
    const lanes = lanesOf(device)
    const variants: MatmulVariant[] = [...TILES]
    if (lanes) variants.push(`subgroup${lanes}`, `subgroup${lanes}few`)
    if (lanes === 8 && isF32(problem)) variants.push(...TALL_COSTS.map(([variant]) => variant))
    const { m, n, batch, k } = problem
    const whole = lanes === 8 && packable(problem, device) ? ['subgroup8packed'] : []
    const others = variants.flatMap((variant) => {
      // Splitting a grid that is large already only adds memory traffic; slabs must fit one binding.
      const splits = SPLITS.filter((count) => {
        const bytes = count * batch * m * n * 4
        const small = workgroups(variant, problem) * count <= 8 * BUSY
        return small && k >= 64 * count && bytes <= device.limits.maxStorageBufferBindingSize
      })
      return [1, ...splits].map((count) => nameOf({ variant, splits: count }))
    })
    return [...others, ...whole]
  },
  rule(problem, device) {
    const lanes = lanesOf(device)
    return nameOf(lanes ? softwareRule(problem, lanes, device) : hardwareRule(problem))
  },
}
