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
  scope(() => {
    let sum: F32 | undefined
    for (let first = 0; first < rows; first += length) {
      const count = Math.min(length, rows - first)
      const before = sum
      const last = first + count === rows
      sum = scope(() => {
        const own = device.empty(out.shape)
        const parts = matrices.map((x) => x.view([rows, x.size / rows]).rows(first, count))
        run(parts, count, own)
        if (!before) return own
        const both = last ? out : device.empty(out.shape)
        device.dispatch(addKernel, { a: before, b: own, out: both }, { size: out.size })
        return both
      })
      before?.dispose()
    }
  })
}
