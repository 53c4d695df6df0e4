import type { Activation } from '../../kernels/activations.ts'
import { placeColumnsKernel, takeColumnsKernel } from '../../kernels/columns.ts'
import { KeeplightError } from '../errors.ts'
import { largestPart } from '../split.ts'
import { scope, type Tensor } from '../tensor.ts'

/**
 * Products whose matrices are larger than one binding, as several products of stretches that fit: of
 * rows of A and of the result, of columns of the result (rows of a weight), or of the inner dimension,
 * whose sums are added in ascending order.
 */

type F32 = Tensor<'f32'>

export interface Product {
  /** [m, n] */
  readonly out: F32
  /** [m, k], or [k, m] when transposed */
  readonly a: F32
  /** [k, n], or [n, k] when transposed */
  readonly b: F32
  readonly transposeA: boolean
  readonly transposeB: boolean
  readonly m: number
  readonly n: number
  readonly k: number
  /** [n] */
  readonly bias?: F32 | undefined
  readonly activation?: Activation
  /** [m, n] */
  readonly residual?: F32 | undefined
}

/** Whether a product must be cut. */
export const isLarge = ({ out, a, b }: Product): boolean => [out, a, b].some(exceeds)

const exceeds = ({ byteLength, device }: Tensor): boolean => byteLength > device.maxBindingBytes

/**
 * Runs a product in parts.
 *
 * @param multiply runs a smaller product, cutting it further where it must
 */
export function multiplyInParts(product: Product, multiply: (part: Product) => void): void {
  const { out, a, b, transposeA, transposeB } = product
  scope(() => {
    if (exceeds(out) || (exceeds(a) && !transposeA)) cutRows(product, multiply)
    else if (exceeds(b) && transposeB) cutColumns(product, multiply)
    else cutInner(product, multiply)
  })
}

/** out[rows] = op(A)[rows]·op(B) */
function cutRows(product: Product, multiply: (part: Product) => void): void {
  const { out, a, residual, transposeA, m, n, k } = product
  const units = [n * 4, ...(transposeA ? [] : [k * 4])]
  eachPart(product, m, units, (first, count) => {
    multiply({
      ...product,
      out: rowsOf(out, m, n, first, count),
      a: transposeA ? takeColumns(a, k, m, first, count) : rowsOf(a, m, k, first, count),
      residual: residual && rowsOf(residual, m, n, first, count),
      m: count,
    })
  })
}

/** out[:, columns] = op(A)·B[columns]ᵀ */
function cutColumns(product: Product, multiply: (part: Product) => void): void {
  const { out, b, bias, residual, m, n, k } = product
  const { device } = out
  eachPart(product, n, [k * 4, 4], (first, count) => {
    const narrow = device.empty([m, count])
    multiply({
      ...product,
      out: narrow,
      b: rowsOf(b, n, k, first, count),
      bias: bias?.rows(first, count),
      residual: residual && takeColumns(residual, m, n, first, count),
      n: count,
    })
    const params = { rows: m, columns: n, width: count, first }
    device.dispatch(placeColumnsKernel, { x: narrow, out }, params)
  })
}

/** out = Σ over stretches of k of op(A)[:, stretch]·op(B)[stretch] */
function cutInner(product: Product, multiply: (part: Product) => void): void {
  const {
    out,
    a,
    b,
    bias,
    activation = 'none',
    residual,
    transposeA,
    transposeB,
    m,
    n,
    k,
  } = product
  if (bias || activation !== 'none') {
    throw new KeeplightError(
      'internal',
      'matmul: a sum over parts of k takes no bias or activation',
    )
  }
  const units = [...(transposeA ? [m * 4] : []), ...(transposeB ? [] : [n * 4])]
  let sum = residual
  eachPart(product, k, units, (first, count) => {
    const next = first + count === k ? out : out.device.empty([m, n])
    multiply({
      ...product,
      out: next,
      a: transposeA ? rowsOf(a, k, m, first, count) : takeColumns(a, m, k, first, count),
      b: transposeB ? takeColumns(b, n, k, first, count) : rowsOf(b, k, n, first, count),
      residual: sum,
      k: count,
    })
    sum = next
  })
}

/** Calls `body` for stretches of `total` units, each so long that a unit's `bytes` fit a binding. */
function eachPart(
  { out, a, b }: Product,
  total: number,
  bytes: readonly number[],
  body: (first: number, count: number) => void,
): void {
  const { device } = out
  const length = largestPart(bytes, total, device)
  if (length === 0) {
    throw new KeeplightError(
      'validation',
      `matmul: ${a.toString()} · ${b.toString()} → ${out.toString()} has rows too long to be cut ` +
        `into bindings of ${device.maxBindingBytes} bytes; use shorter ones`,
    )
  }
  for (let first = 0; first < total; first += length) {
    const count = Math.min(length, total - first)
    scope(() => body(first, count))
  }
}

const rowsOf = (x: F32, rows: number, columns: number, first: number, count: number): F32 =>
  x.view([rows, columns]).rows(first, count)

function takeColumns(x: F32, rows: number, columns: number, first: number, width: number): F32 {
  const out = x.device.empty([rows, width])
  x.device.dispatch(takeColumnsKernel, { x, out }, { rows, columns, width, first })
  return out
}
