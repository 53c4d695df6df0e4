import {
  batchNormEvalBackwardKernel,
  batchNormEvalKernel,
  batchNormInputGradientKernel,
} from '../../kernels/batchNorm.ts'
import { addKernel } from '../../kernels/elementwise.ts'
import { withoutTape } from '../tape.ts'
import { scope, type Tensor } from '../tensor.ts'
import { add, reshape, rsqrt, scale, square, subtract } from './elementwise.ts'
import { concat } from './layout.ts'
import { sumRows } from './reduce.ts'
import { forRowParts, sumRowParts } from './rowParts.ts'
import { scaled } from './scale.ts'

/** Batch normalisation of an x that is larger than a binding: sums over parts of its rows. */

type F32 = Tensor<'f32'>

interface Affine {
  readonly x: F32
  readonly weight: F32
  readonly bias: F32
}

export const isLarge = ({ byteLength, device }: Tensor): boolean =>
  byteLength > device.maxBindingBytes

/** Mean and 1/√(variance + eps) of the columns, [2, columns]; moves `running` towards them. */
export function statisticsInParts(x: F32, running: F32, eps: number, momentum: number): F32 {
  const { device } = x
  const [rows, columns] = x.shape as [number, number]
  return withoutTape(() =>
    scope(() => {
      const mean = sumRows(x, device.empty([columns]), 1 / rows)
      const squares = device.empty([columns])
      sumRowParts([x], rows, squares, ([part], _, into) => {
        scope(() => void sumRows(square(subtract(part!, mean)), into))
      })
      const batch = reshape(concat([mean, scale(squares, 1 / (rows - 1))]), [2, columns])
      const moved = add(running, scale(subtract(batch, running), momentum))
      scaled(moved, 1, running)
      const variance = scale(squares, 1 / rows)
      const invStd = rsqrt(add(variance, device.tensor(Float32Array.of(eps), [1])))
      return reshape(concat([mean, invStd]), [2, columns])
    }),
  )
}

/** relu?((x − mean)·invStd·weight + bias) with `statistics` [2, columns] of mean and invStd. */
export function normalizeInParts({ x, weight, bias }: Affine, statistics: F32, relu: boolean): F32 {
  const [rows, columns] = x.shape as [number, number]
  const out = x.device.empty(x.shape)
  const kernel = batchNormEvalKernel({ relu, vector: columns % 4 === 0, inverse: true })
  const tensors = { x, weight, bias, running: statistics, out }
  x.device.dispatch(kernel, tensors, { runs: 1, rows, columns, eps: 0 })
  return out
}

interface Gradients {
  readonly x: F32
  readonly weight: F32
  readonly bias: F32
}

/**
 * Gradients by statistics that are constants, into `gradients`; part by part, whose sums are added in
 * ascending order.
 *
 * @param inverse whether the statistics hold 1/√(variance + eps)
 */
export function evalGradientsInParts(
  { x, weight, bias }: Affine,
  { running, eps, relu, inverse }: { running: F32; eps: number; relu: boolean; inverse: boolean },
  dOut: F32,
  gradients: Gradients,
): void {
  const { device } = x
  const [rows, columns] = x.shape as [number, number]
  const kernel = batchNormEvalBackwardKernel({ relu, ...(inverse && { inverse }) })
  const empty = (): F32 => device.empty([columns])
  scope(() => {
    let sums: readonly [F32, F32] | undefined
    forRowParts([x, dOut, gradients.x], rows, ([x, dOut, dX], count, last) => {
      const before = sums
      sums = scope((): readonly [F32, F32] => {
        const [dWeight, dBias] = [empty(), empty()]
        const tensors = { x: x!, weight, bias, running, dOut: dOut!, dX: dX!, dWeight, dBias }
        device.dispatch(kernel, tensors, { runs: 1, rows: count, columns, eps })
        if (!before) return [dWeight, dBias]
        const both = last
          ? ([gradients.weight, gradients.bias] as const)
          : ([empty(), empty()] as const)
        const addends = [dWeight, dBias]
        both.forEach((out, i) => {
          device.dispatch(addKernel, { a: before[i]!, b: addends[i]!, out }, { size: columns })
        })
        return both
      })
      before?.forEach((tensor) => tensor.dispose())
    })
  })
}

/** Gradients of the whole normalisation, its statistics included. */
export function trainGradientsInParts(
  inputs: Affine,
  statistics: F32,
  relu: boolean,
  dOut: F32,
  gradients: Gradients,
): void {
  const { x, weight, bias } = inputs
  const [rows, columns] = x.shape as [number, number]
  const constants = { running: statistics, eps: 0, relu, inverse: true }
  // What it writes as dX is overwritten: only the sums are needed of it.
  evalGradientsInParts(inputs, constants, dOut, gradients)
  const { x: dX, weight: dWeight, bias: dBias } = gradients
  const tensors = { x, weight, bias, statistics, dOut, dWeight, dBias, dX }
  const params = { rows, columns, all: rows }
  x.device.dispatch(batchNormInputGradientKernel({ relu }), tensors, params)
}
