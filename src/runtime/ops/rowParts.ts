import { addKernel } from '../../kernels/elementwise.ts'
import { KeeplightError } from '../errors.ts'
import { largestPart } from '../split.ts'
import { scope, type Tensor } from '../tensor.ts'

type F32 = Tensor<'f32'>

/**
 * A sum over rows of matrices that may be larger than one binding: in parts of rows that fit, whose
 * sums are added in ascending order.
 *
 * @param matrices each [rows, …]
 * @param run sums `parts`, the same rows of each matrix, into `into`, of out's shape
 */
export function sumRowParts(
  matrices: readonly F32[],
  rows: number,
  out: F32,
  run: (parts: readonly F32[], rows: number, into: F32) => void,
): void {
  const { device } = out
  if (matrices.every(({ byteLength }) => byteLength <= device.maxBindingBytes)) {
    return run(matrices, rows, out)
  }
  scope(() => {
    let sum: F32 | undefined
    forRowParts(matrices, rows, (parts, count, last) => {
      const before = sum
      sum = scope(() => {
        const own = device.empty(out.shape)
        run(parts, count, own)
        if (!before) return own
        const both = last ? out : device.empty(out.shape)
        device.dispatch(addKernel, { a: before, b: own, out: both }, { size: out.size })
        return both
      })
      before?.dispose()
    })
  })
}

/**
 * Runs `body` on the same rows of every matrix, in parts that bindings take, in ascending order.
 *
 * @param matrices each [rows, …]
 */
export function forRowParts(
  matrices: readonly F32[],
  rows: number,
  body: (parts: readonly F32[], rows: number, last: boolean) => void,
): void {
  const { device } = matrices[0]!
  const length = largestPart(
    matrices.map(({ byteLength }) => byteLength / rows),
    rows,
    device,
  )
  if (length === 0) {
    throw new KeeplightError(
      'validation',
      `sum: the ${rows} rows of ${matrices.map(String).join(', ')} can't be cut into bindings of ` +
        `${device.maxBindingBytes} bytes; use shorter rows`,
    )
  }
  for (let first = 0; first < rows; first += length) {
    const count = Math.min(length, rows - first)
    const views = matrices.map((x) => x.view([rows, x.size / rows]))
    const parts = views.map((view) => view.rows(first, count))
    body(parts, count, first + count === rows)
    for (const tensor of [...views, ...parts]) tensor.dispose()
  }
}
