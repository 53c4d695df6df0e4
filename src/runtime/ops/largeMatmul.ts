import { placeColumnsKernel, takeColumnsKernel } from '../../kernels/columns.ts'
import { bytesPerElement } from '../dtype.ts'
import { KeeplightError } from '../errors.ts'
import { largestPart } from '../split.ts'
import { scope, type Tensor } from '../tensor.ts'
import type { Epilogue, Layout, Sizes } from './matmulInto.ts'

/**
 * Products whose matrices are larger than one binding, as several products of parts that fit: of the
 * batch, of rows of A and of the result, of columns of the result (rows of a weight), or of the inner
 * dimension, whose sums are added in ascending order.
 */

/** A product as `matmulInto` takes it. */
export interface Product {
  readonly out: Tensor
  readonly a: Tensor
  readonly b: Tensor
  readonly layout: Layout
  readonly sizes: Sizes
  readonly epilogue: Epilogue
}

const exceeds = ({ byteLength, device }: Tensor): boolean => byteLength > device.maxBindingBytes

/** Whether a product must be cut. */
export const isLarge = (...matrices: readonly Tensor[]): boolean => matrices.some(exceeds)

/**
 * Runs a product in parts.
 *
 * @param multiply runs a smaller product, cutting it further where it must
 */
export function multiplyInParts(product: Product, multiply: (part: Product) => void): void {
  const { out, a, b, layout, sizes } = product
  if ((sizes.batch ?? 1) > 1) cutBatch(product, multiply)
  else if (exceeds(out) || (exceeds(a) && !layout.transposeA)) cutRows(product, multiply)
  else if (exceeds(b) && layout.transposeB) cutColumns(product, multiply)
  else cutInner(product, multiply)
}

/** out[matrices] = op(A)[matrices]·op(B)[matrices] */
function cutBatch(product: Product, multiply: (part: Product) => void): void {
  const { out, a, b, sizes, epilogue } = product
  const { m, n, k, batch = 1, shared } = sizes
  const matrices = [
    { tensor: out, size: m * n },
    ...(shared === 'a' ? [] : [{ tensor: a, size: m * k }]),
    ...(shared === 'b' ? [] : [{ tensor: b, size: k * n }]),
  ]
  const bytes = matrices.map(({ tensor, size }) => size * bytesPerElement[tensor.dtype])
  eachPart(product, batch, bytes, (first, count) => {
    const { bias, residual } = epilogue
    multiply({
      ...product,
      out: rowsOf(out, batch, m * n, first, count),
      a: shared === 'a' ? a : rowsOf(a, batch, m * k, first, count),
      b: shared === 'b' ? b : rowsOf(b, batch, k * n, first, count),
      sizes: { ...sizes, batch: count },
      epilogue: {
        ...epilogue,
        // A matrix's own bias; its part may start anywhere, so it is copied where it must.
        bias: bias?.shape.length === 2 ? takeRows(bias, first, count) : bias,
        residual: residual && rowsOf(residual, batch, m * n, first, count),
      },
    })
  })
}

/** out[rows] = A[rows]·op(B), the last `rest` rows by a product of their own; of one matrix, A not transposed. */
export function multiplyRowsApart(
  product: Product,
  rest: number,
  multiply: (part: Product) => void,
): void {
  const { out, a, sizes, epilogue } = product
  const { m, n, k } = sizes
  const { residual } = epilogue
  for (const [first, count] of [
    [0, m - rest],
    [m - rest, rest],
  ] as const) {
    scope(() => {
      multiply({
        ...product,
        out: rowsOf(out, m, n, first, count),
        a: rowsOf(a, m, k, first, count),
        sizes: { m: count, n, k },
        epilogue: { ...epilogue, residual: residual && rowsOf(residual, m, n, first, count) },
      })
    })
  }
}

/** out[rows] = op(A)[rows]·op(B) */
function cutRows(product: Product, multiply: (part: Product) => void): void {
  const { out, a, sizes, epilogue } = product
  const { m, n, k } = sizes
  const { transposeA } = product.layout
  const bytes = [n * bytesPerElement[out.dtype]]
  if (!transposeA) bytes.push(k * bytesPerElement[a.dtype])
  eachPart(product, m, bytes, (first, count) => {
    const { residual } = epilogue
    multiply({
      ...product,
      out: rowsOf(out, m, n, first, count),
      a: transposeA ? takeColumns(a, k, m, first, count) : rowsOf(a, m, k, first, count),
      sizes: { m: count, n, k },
      epilogue: { ...epilogue, residual: residual && rowsOf(residual, m, n, first, count) },
    })
  })
}

/** out[:, columns] = op(A)·B[columns]ᵀ */
function cutColumns(product: Product, multiply: (part: Product) => void): void {
  const { out, b, sizes, epilogue } = product
  const { m, n, k } = sizes
  const { scales, bias, layerScale, residual } = epilogue
  const { device } = out
  // The last of these are the vectors of n numbers.
  eachPart(product, n, [k * bytesPerElement[b.dtype], 4], (first, count) => {
    const narrow = device.empty([m, count])
    multiply({
      ...product,
      out: narrow,
      b: rowsOf(b, n, k, first, count),
      sizes: { m, n: count, k },
      epilogue: {
        ...epilogue,
        scales: scales?.rows(first, count),
        bias: bias?.rows(first, count),
        layerScale: layerScale?.rows(first, count),
        residual: residual && takeColumns(residual, m, n, first, count),
      },
    })
    expectF32(out)
    const params = { rows: m, columns: n, width: count, first }
    device.dispatch(placeColumnsKernel, { x: narrow, out }, params)
  })
}

/** out = Σ over parts of k of op(A)[:, part]·op(B)[part] */
function cutInner(product: Product, multiply: (part: Product) => void): void {
  const { out, a, b, sizes, epilogue } = product
  const { m, n, k } = sizes
  const { transposeA, transposeB } = product.layout
  const { scales, bias, activation = 'none', layerScale, residual } = epilogue
  if (bias || layerScale || activation !== 'none') {
    throw new KeeplightError('internal', 'matmul: a sum over parts of k takes no epilogue')
  }
  expectF32(out)
  const bytes = scales ? [4] : []
  if (transposeA) bytes.push(m * bytesPerElement[a.dtype])
  if (!transposeB) bytes.push(n * bytesPerElement[b.dtype])
  let sum = residual
  eachPart(product, k, bytes, (first, count) => {
    const next = first + count === k ? out : out.device.empty([m, n])
    multiply({
      ...product,
      out: next,
      a: transposeA ? rowsOf(a, k, m, first, count) : takeColumns(a, m, k, first, count),
      b: transposeB ? takeColumns(b, n, k, first, count) : rowsOf(b, k, n, first, count),
      sizes: { m, n, k: count },
      epilogue: { scales: scales?.rows(first, count), residual: sum },
    })
    if (sum !== residual) sum?.dispose()
    sum = next
    return next
  })
}

/**
 * Calls `body` for parts of `total` units, each of which fits a binding in every array that is cut;
 * what it makes is disposed, but for what it returns.
 *
 * @param bytes of a unit in each of those arrays
 */
function eachPart(
  { out, a, b }: Product,
  total: number,
  bytes: readonly number[],
  body: (first: number, count: number) => unknown,
): void {
  const { maxBindingBytes, offsetAlignment } = out.device
  // A single unit may be too large too, and is then cut along another dimension.
  const length =
    largestPart(bytes, total, { maxBindingBytes, offsetAlignment }) ||
    (total > 1 ? largestPart(bytes, 1, { maxBindingBytes: Infinity, offsetAlignment }) : 0)
  if (length === 0) {
    throw new KeeplightError(
      'validation',
      `matmul: ${a.toString()} · ${b.toString()} → ${out.toString()} has rows that can't be cut ` +
        `into bindings of ${maxBindingBytes} bytes; use a smaller inner or outer size`,
    )
  }
  for (let first = 0; first < total; first += length) {
    const count = Math.min(length, total - first)
    scope(() => body(first, count))
  }
}

const rowsOf = (x: Tensor, rows: number, columns: number, first: number, count: number): Tensor =>
  x.view([rows, columns]).rows(first, count)

/** Rows of a small matrix, wherever they start. */
function takeRows(x: Tensor, first: number, count: number): Tensor {
  const [rows, columns] = x.shape as [number, number]
  const flat = takeColumns(
    x.view([1, rows * columns]),
    1,
    rows * columns,
    first * columns,
    count * columns,
  )
  return flat.view([count, columns])
}

function takeColumns(
  x: Tensor,
  rows: number,
  columns: number,
  first: number,
  width: number,
): Tensor<'f32'> {
  expectF32(x)
  const out = x.device.empty([rows, width])
  x.device.dispatch(takeColumnsKernel, { x, out }, { rows, columns, width, first })
  return out
}

function expectF32(tensor: Tensor): void {
  if (tensor.dtype === 'f32') return
  throw new KeeplightError(
    'validation',
    `matmul: ${tensor.toString()} would have to be cut by columns, as an operand is larger than a ` +
      `binding, and only f32 can; cast it by toF32()`,
  )
}
