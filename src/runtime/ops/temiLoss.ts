import { temiLossKernel, temiOverlapKernel } from '../../kernels/temiLoss.ts'
import { expect, expectShape } from '../shape.ts'
import { apply, withoutTape, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { multiply } from './elementwise.ts'
import { sumColumns } from './reduce.ts'

export interface TemiLossOptions {
  /** τ of the student's softmax. Default 0.1. */
  readonly temperature?: number
  /** τ of the teacher's. Default 0.1. */
  readonly teacherTemperature?: number
  /** β: below 1, clusters of a pair that is not sure may differ. Default 0.6. */
  readonly beta?: number
  /** Share of the marginals that a batch leaves as they were. Default 0.9. */
  readonly momentum?: number
}

interface Attributes extends Required<TemiLossOptions> {
  readonly teacher: Tensor<'f32'>
  readonly marginals: Tensor<'f32'>
  /** [R, N]: the loss of every head. */
  readonly losses: Tensor<'f32'>
}

const op: Op<{ student: Tensor<'f32'> }, Attributes, { dStudent: Tensor<'f32'> }> = {
  name: 'temiLoss',
  forward({ student }, attributes) {
    const { teacher, marginals, losses, beta, momentum } = attributes
    const [runs, perRun, rows, clusters] = student.shape as [number, number, number, number]
    const { device } = student
    const heads = runs * perRun
    const batch = rows / 2
    const dStudent = device.empty(student.shape)
    const logs = device.empty([heads, rows])
    const overlaps = device.empty([heads, batch])
    const scratch = device.empty([heads, clusters])
    const teacherSharpness = 1 / attributes.teacherTemperature
    device.dispatch(
      temiOverlapKernel,
      { teacher, logs, overlaps },
      { heads, batch, clusters, sharpness: teacherSharpness },
    )
    device.dispatch(
      temiLossKernel,
      { student, teacher, logs, overlaps, marginals, losses, dStudent, scratch },
      {
        heads,
        perRun,
        batch,
        clusters,
        sharpness: 1 / attributes.temperature,
        teacherSharpness,
        beta,
        momentum,
        scale: 1 / perRun,
      },
    )
    for (const tensor of [logs, overlaps, scratch]) tensor.dispose()
    return { out: sumColumns(losses, device.empty([runs]), 1 / perRun), saved: { dStudent } }
  },
  backward(context) {
    const { dStudent } = context.saved
    if (context.isSeed) return { student: dStudent.view(dStudent.shape) }
    const [runs] = dStudent.shape as [number]
    const factor = context.gradient.view([runs, 1, 1, 1])
    const scaled = withoutTape(() => multiply(dStudent, factor))
    factor.dispose()
    return { student: scaled }
  },
}

export interface TemiLoss {
  /** [R], the mean over a run's heads; carries the tape. */
  readonly total: Tensor<'f32'>
  /** [R, N]: the loss of every head. */
  readonly losses: Tensor<'f32'>
}

/**
 * TEMI's loss (Adaloglou et al. 2023) of R runs with N heads each, on two views' logits, with its
 * gradient computed in the same dispatch; see {@link temiLossKernel} for the formulas. A loss of a run is
 * the mean over its heads.
 *
 * @param student [R, N, 2B, K]: the rows of the first view, then those of the second
 * @param teacher [R, N, 2B, K], of the moving average of the student; gets no gradient
 * @param marginals [R, N, K]: moving average of the teacher's mean softmax, 1/K at first; brought forward
 *   by this batch, in place, before the loss is computed from it
 * @throws KeeplightError `validation` when shapes do not fit or an option is out of range
 */
export function temiLoss(
  student: Tensor<'f32'>,
  teacher: Tensor<'f32'>,
  marginals: Tensor<'f32'>,
  options: TemiLossOptions = {},
): TemiLoss {
  const { temperature = 0.1, teacherTemperature = 0.1, beta = 0.6, momentum = 0.9 } = options
  const [runs = 0, heads = 0, rows = 0, clusters = 0] = student.shape
  expect(student.shape.length === 4 && rows % 2 === 0 && clusters >= 2, 'temiLoss', () => {
    return `student is ${student.toString()}, expected [R, N, 2B, K] with K of 2 or more`
  })
  expectShape('temiLoss', 'teacher', teacher.shape, student.shape)
  expectShape('temiLoss', 'marginals', marginals.shape, [runs, heads, clusters])
  for (const [name, value] of Object.entries({ temperature, teacherTemperature, beta })) {
    expect(value > 0 && Number.isFinite(value), 'temiLoss', () => {
      return `${name} is ${value}, expected a number above 0`
    })
  }
  expect(momentum >= 0 && momentum <= 1, 'temiLoss', () => {
    return `momentum is ${momentum}, expected 0 to 1`
  })
  const losses = student.device.empty([runs, heads])
  const attributes = { teacher, marginals, losses, temperature, teacherTemperature, beta, momentum }
  return { total: apply(op, { student }, attributes), losses }
}
