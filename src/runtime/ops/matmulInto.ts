import type { Activation } from '../../kernels/activations.ts'
import { matmulKernel, sumsRows } from '../../kernels/matmul.ts'
import { matmulPackKernel, packedSize } from '../../kernels/matmulPack.ts'
import { matmulReduceKernel } from '../../kernels/matmulReduce.ts'
import type { FloatDtype } from '../dtype.ts'
import { expect } from '../shape.ts'
import type { Tensor } from '../tensor.ts'
import { isLarge, multiplyInParts, multiplyRowsApart, type Product } from './largeMatmul.ts'
import { matmulChoice, planOf, rowsApart } from './matmulChoice.ts'
import { sumEach, sumRows } from './reduce.ts'

export interface Layout {
  readonly transposeA: boolean
  readonly transposeB: boolean
}

export interface Sizes {
  readonly m: number
  readonly n: number
  readonly k: number
  /** Matrices of the batch; default 1. */
  readonly batch?: number
  /** The operand that all matrices of the batch share. */
  readonly shared?: 'a' | 'b' | undefined
  /**
   * The kernel is chosen as for one matrix, so that the bits of a matrix don't depend on how many others
   * there are.
   */
  readonly alike?: boolean
}

export interface Epilogue {
  /** [n or k]: of the rows of an int8 B. */
  readonly scales?: Tensor | undefined
  /** [n], or [batch, n]: each matrix its own. */
  readonly bias?: Tensor | undefined
  readonly activation?: Activation
  readonly layerScale?: Tensor | undefined
  /** Of the output's dtype. */
  readonly residual?: Tensor | undefined
  /** [m], or [batch, m] of matrices that are `alike`: gets Σ over k of op(a), a stored [k, m]. */
  readonly rowSums?: Tensor<'f32'> | undefined
}

/**
 * out = activate(op(a)·op(b) + bias) · layerScale + residual for each matrix of a batch, by the kernel
 * that `matmulChoice` names, in one dispatch or, with split k, in two; outside the tape.
 */
export function matmulInto<D extends FloatDtype>(
  out: Tensor<D>,
  a: Tensor<FloatDtype>,
  b: Tensor<FloatDtype | 'i8'>,
  layout: Layout,
  { m, n, k, batch = 1, shared, alike = false }: Sizes,
  { scales, bias, activation = 'none', layerScale, residual, rowSums }: Epilogue = {},
): Tensor<D> {
  const { device } = out
  const storage = { a: a.dtype, b: b.dtype, out: out.dtype }
  const one = { ...layout, ...storage, m, n, k, rowSums: rowSums !== undefined }
  const problem = { ...one, batch: alike ? 1 : batch }
  const large = isLarge(out, a, b)
  const apart = large || alike ? 0 : rowsApart(problem, device)
  const sumApart = (into: Tensor<'f32'>): void => {
    if (alike) sumEach(a.view([batch, k, m]) as Tensor<'f32'>, into)
    else sumRows(a as Tensor<'f32'>, into)
  }
  if (large || apart > 0) {
    const sizes = { m, n, k, batch, shared, alike }
    const parts = { scales, bias, activation, layerScale, residual }
    const product = { out, a, b, layout, sizes, epilogue: parts }
    const multiply = (part: Product): void => {
      const [a, b] = [part.a as Tensor<FloatDtype>, part.b as Tensor<FloatDtype | 'i8'>]
      matmulInto(part.out as Tensor<D>, a, b, layout, part.sizes, part.epilogue)
    }
    if (large) multiplyInParts(product, multiply)
    else multiplyRowsApart(product, apart, multiply)
    if (rowSums) sumApart(rowSums)
    return out
  }
  const plan = planOf(device.choose(matmulChoice, problem))
  // A multiple of every kernel's step, so that no step straddles two stretches.
  const depth = plan.splits === 1 ? k : Math.ceil(k / plan.splits / 32) * 32
  const stretches = Math.ceil(k / depth)
  const epilogue = {
    bias: bias !== undefined && (bias.shape.length === 2 ? ('each' as const) : true),
    activation,
    layerScale: layerScale !== undefined,
    residual: residual !== undefined,
  }
  const nativeF16 = device.has('shader-f16')
  const partial = stretches > 1
  const { variant } = plan
  const quads = {
    quadsA: (layout.transposeA ? m : k) % 4 === 0,
    quadsB: (layout.transposeB ? k : n) % 4 === 0,
  }
  const sumsInside = rowSums !== undefined && !partial && sumsRows(variant)
  if (rowSums && !sumsInside) sumApart(rowSums)
  const options = {
    ...layout,
    ...storage,
    ...quads,
    ...epilogue,
    ...(sumsInside && { rowSums: true }),
    nativeF16,
    partial,
    variant,
  }
  const kernel = matmulKernel(options)
  const params = {
    m,
    n,
    k,
    batch,
    strideA: shared === 'a' ? 0 : m * k,
    strideB: shared === 'b' ? 0 : k * n,
    slabs: batch * stretches,
    depth,
  }
  // A kernel binds only what its options ask for; the others stand in by `out`.
  const optional = {
    scales: scales ?? out,
    bias: bias ?? out,
    layerScale: layerScale ?? out,
    residual: residual ?? out,
    rowSums: rowSums ?? out,
  }
  if (variant === 'subgroup8packed') {
    const counts = { a: shared === 'a' ? 1 : batch, b: shared === 'b' ? 1 : batch }
    const packedA = pack(a, !layout.transposeA, quads.quadsA, { batch: counts.a, edge: m, k })
    const packedB = pack(b, layout.transposeB, quads.quadsB, { batch: counts.b, edge: n, k })
    const strideA = shared === 'a' ? 0 : packedA.size / batch
    const strideB = shared === 'b' ? 0 : packedB.size / batch
    const tensors = { a: packedA, b: packedB, ...optional, out }
    device.dispatch(kernel, tensors, { ...params, strideA, strideB })
    packedA.dispose()
    packedB.dispose()
    return out
  }
  if (!partial) {
    device.dispatch(kernel, { a, b, ...optional, out }, params)
    return out
  }
  const sums = device.empty([stretches, out.size])
  device.dispatch(kernel, { a, b, ...optional, out: sums }, params)
  const scaled = scales !== undefined && layout.transposeB
  const reduce = matmulReduceKernel({ ...epilogue, scales: scaled, out: out.dtype })
  device.dispatch(
    reduce,
    { partial: sums, ...optional, out },
    { size: out.size, m, n, slabs: stretches },
  )
  sums.dispose()
  return out
}

/** An operand in the order in which `subgroup8packed` reads it. */
function pack(
  x: Tensor,
  alongK: boolean,
  quads: boolean,
  sizes: { readonly batch: number; readonly edge: number; readonly k: number },
): Tensor<'f32'> {
  const out = x.device.empty([packedSize(sizes)])
  x.device.dispatch(matmulPackKernel({ alongK, quads }), { x, out }, sizes)
  return out
}

/** Σ over the first dimension of x [slabs, ...out], in order, into `out`; outside the tape. */
export function sumSlabs(x: Tensor<'f32'>, out: Tensor<'f32'>): Tensor<'f32'> {
  const kernel = matmulReduceKernel({
    scales: false,
    bias: false,
    activation: 'none',
    layerScale: false,
    residual: false,
    out: 'f32',
  })
  const unused = { scales: out, bias: out, layerScale: out, residual: out }
  const params = { size: out.size, m: 1, n: out.size, slabs: x.size / out.size }
  out.device.dispatch(kernel, { partial: x, ...unused, out }, params)
  return out
}

/** Throws unless gradients may flow into this operand: only f32 tensors are trained. */
export function expectFrozen(op: string, name: string, tensor: Tensor): void {
  const trainable = tensor.requiresGrad || tensor.node !== undefined
  expect(tensor.dtype === 'f32' || !trainable, op, () => {
    return (
      `${name} ${tensor.toString()} requires a gradient, and only f32 tensors have one; ` +
      `freeze it (requiresGrad = false), or train a copy in f32`
    )
  })
}
