import type { Activation } from './activations.ts'
import { kernelFamily, type Kernel } from './kernel.ts'
import { rowsKernel } from './matmulRows.ts'
import { packedKernel } from './matmulPacked.ts'
import { softwareKernel } from './matmulSoftware.ts'
import { subgroupKernel } from './matmulSubgroup.ts'
import { tileKernel } from './matmulTile.ts'

/** How an operand's elements lie in memory; whatever it is, products and sums are f32. */
export type MatmulStorage = 'f32' | 'f16' | 'i8'

/**
 * Kernels of the family. Each adds the products of one output element in an order of its own that
 * depends on k alone, so a variant changes results by the rounding of f32 sums and no more.
 *
 * - `tile128`, `tile64`, `tile32`, `tile16`: operands staged in workgroup memory, a workgroup for
 *   128×64, 64×64, 32×32 or 16×64 of the output; for GPUs. `…x4`: four times the threads, which
 *   share k, for outputs that make few workgroups.
 * - `rows8`: 8×16 of the output, whose k the threads of the workgroup share; for GPUs and few rows.
 * - `subgroup8`, `subgroup4`: a workgroup is one subgroup of that many lanes, operands are loaded once
 *   and broadcast from registers; for CPU rasterisers. `…few` are the same for few rows.
 * - `subgroup8r64` … `subgroup8r8`: the same idea with that many rows and two k a turn, f32 only; for
 *   lavapipe, see `matmulSoftware.ts`.
 * - `subgroup8packed`: 32×32 of the output per subgroup from operands that `matmulPackKernel` has copied
 *   into the order of reading, f32 only; for lavapipe and large products, see `matmulPacked.ts`.
 *
 * A variant of its own kind (for subgroup matrices, say) is a name here, a row in {@link variants}, and
 * a line in `matmulChoice` that says where it can run.
 */
export type MatmulVariant =
  | 'tile128'
  | 'tile64'
  | 'tile32'
  | 'tile32x4'
  | 'tile16'
  | 'tile16x4'
  | 'rows8'
  | 'subgroup8'
  | 'subgroup8few'
  | 'subgroup8r64'
  | 'subgroup8r32'
  | 'subgroup8r16'
  | 'subgroup8r8'
  | 'subgroup8packed'
  | 'subgroup4'
  | 'subgroup4few'

/**
 * out = activate(op(A) · op(B) + bias) · layerScale + residual for every matrix of a batch, with
 * op(A) [m, k] and op(B) [k, n]; all sums in f32.
 *
 * An int8 B is a quantised weight [out, in] with one scale for each of its rows: these are the columns
 * of op(B) when `transposeB`, else its inner dimension.
 */
export interface MatmulOptions {
  /** A is stored [k, m]. */
  readonly transposeA: boolean
  /** B is stored [n, k], as PyTorch stores a linear layer's weight. */
  readonly transposeB: boolean
  readonly a: 'f32' | 'f16'
  readonly b: MatmulStorage
  /** Storage of the output and the residual; f16 needs `nativeF16`. */
  readonly out: 'f32' | 'f16'
  /** Reads f16 as such, with the feature `shader-f16`; else from words of two. */
  readonly nativeF16: boolean
  /**
   * A (B) is read four elements at a time: the length of its rows in memory is a multiple of four. The
   * subgroup kernels read single elements all the same.
   */
  readonly quadsA: boolean
  readonly quadsB: boolean
  /** Adds `bias` [n], or `each`: [batch, n], a matrix's own. */
  readonly bias: boolean | 'each'
  readonly activation: Activation
  /** Multiplies by `layerScale` [n], after the activation (Touvron et al. 2021, CaiT). */
  readonly layerScale: boolean
  /** Adds `residual` [batch, m, n] at the end. */
  readonly residual: boolean
  /**
   * Split k: the kernel writes the sums over each stretch of k to `out` [stretches, batch, m, n] as
   * they are, and `matmulReduceKernel` adds them up in order and does the rest.
   */
  readonly partial: boolean
  /**
   * Also writes `rowSums` [batch, m], Σ over k of op(A): the gradient of a bias beside that of its weight.
   * Not of stretches of k, and only by variants that {@link sumsRows} names.
   */
  readonly rowSums?: boolean
  readonly variant: MatmulVariant
}

/** Whether a variant can write `rowSums`. */
export const sumsRows = (variant: MatmulVariant): boolean =>
  variant.startsWith('tile') || /^subgroup[48](few)?$/.test(variant)

/** Names of the operands; those from `scales` to `rowSums` are bound when the options ask for them. */
export type MatmulBinding =
  'a' | 'b' | 'scales' | 'bias' | 'layerScale' | 'residual' | 'rowSums' | 'out'

/**
 * `strideA` and `strideB`: elements from one matrix of the batch to the next, 0 for a shared operand.
 * `slabs`: matrices of the batch times stretches of k. `depth`: length of a stretch; k if there is one.
 */
export type MatmulParam = 'm' | 'n' | 'k' | 'batch' | 'strideA' | 'strideB' | 'slabs' | 'depth'

export type MatmulKernel = Kernel<MatmulBinding, MatmulParam>

const variants: Readonly<Record<MatmulVariant, (options: MatmulOptions) => MatmulKernel>> = {
  tile128: (options) => tileKernel(options, { rows: 128, columns: 64, strips: 2, shares: 1 }),
  tile64: (options) => tileKernel(options, { rows: 64, columns: 64, strips: 1, shares: 1 }),
  tile32: (options) => tileKernel(options, { rows: 32, columns: 32, strips: 1, shares: 1 }),
  tile32x4: (options) => tileKernel(options, { rows: 32, columns: 32, strips: 1, shares: 4 }),
  tile16: (options) => tileKernel(options, { rows: 16, columns: 64, strips: 1, shares: 1 }),
  tile16x4: (options) => tileKernel(options, { rows: 16, columns: 64, strips: 1, shares: 4 }),
  rows8: rowsKernel,
  subgroup8: (options) => subgroupKernel(options, { lanes: 8, rowStrips: 2 }),
  subgroup8few: (options) => subgroupKernel(options, { lanes: 8, rowStrips: 1 }),
  subgroup8r64: (options) => softwareKernel(options, 8),
  subgroup8r32: (options) => softwareKernel(options, 4),
  subgroup8r16: (options) => softwareKernel(options, 2),
  subgroup8r8: (options) => softwareKernel(options, 1),
  subgroup8packed: packedKernel,
  subgroup4: (options) => subgroupKernel(options, { lanes: 4, rowStrips: 4 }),
  subgroup4few: (options) => subgroupKernel(options, { lanes: 4, rowStrips: 1 }),
}

export const matmulKernel = kernelFamily((options: MatmulOptions): MatmulKernel => ({
  ...variants[options.variant](options),
  cost: ({ batch, m, n, k }) => ({ flops: 2 * batch * m * n * k }),
}))
