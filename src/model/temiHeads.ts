import { initializeKernel } from '../kernels/initialize.ts'
import { movingAverageKernel } from '../kernels/movingAverage.ts'
import type { Device } from '../runtime/device.ts'
import { add, gelu, multiply, reshape, scale } from '../runtime/ops/elementwise.ts'
import { argmin } from '../runtime/ops/extremum.ts'
import { gatherRows } from '../runtime/ops/gatherRows.ts'
import { l2Normalize } from '../runtime/ops/l2Normalize.ts'
import { linearRuns } from '../runtime/ops/linearRuns.ts'
import { Parameters } from '../runtime/parameters.ts'
import { expectShape, sizeOf, type Shape } from '../runtime/shape.ts'
import { withoutTape } from '../runtime/tape.ts'
import { keep, scope, Tensor } from '../runtime/tensor.ts'
import type { HeadWeights } from './mlpHead.ts'

export interface TemiHeadsConfig {
  /** d, size of the features. */
  readonly dimension: number
  /** K, number of clusters. */
  readonly clusters: number
  /** N, heads of a run. */
  readonly heads: number
  /** Width of the hidden layer. */
  readonly hidden: number
  /** Width of the layer that is L2-normalised. */
  readonly bottleneck: number
}

/** Deviation of initial weights; biases are 0, and what scales the last layer's rows 1. */
const DEVIATION = 0.02

type Weights = (name: string) => Tensor<'f32'>

/** Shapes of one head's weights, by the names of TEMI's code. */
export const temiHeadShapes = (config: Omit<TemiHeadsConfig, 'heads'>): Map<string, Shape> => {
  const { dimension, clusters, hidden, bottleneck } = config
  return new Map([
    ['mlp.0.weight', [hidden, dimension]],
    ['mlp.0.bias', [hidden]],
    ['mlp.2.weight', [bottleneck, hidden]],
    ['mlp.2.bias', [bottleneck]],
    ['last_layer.weight_g', [clusters]],
    ['last_layer.weight_v', [clusters, bottleneck]],
  ])
}

/**
 * Heads of TEMI (Adaloglou et al. 2023), R runs of N each side by side: linear, GELU, linear, L2-norm, and a
 * linear layer with weight norm (Salimans & Kingma 2016), so that a logit is a cosine times a factor of
 * its cluster. Beside the trained student stands the teacher, a moving average of its weights.
 */
export class TemiHeads {
  readonly config: TemiHeadsConfig
  /** R */
  readonly runs: number
  /** The student: of N heads one after the other, `mlp.0.weight` is [R, N·hidden, d]. */
  readonly student: Parameters
  /** The teacher's tensors, of the student's names and shapes. */
  readonly teacher: ReadonlyMap<string, Tensor<'f32'>>
  readonly #teacherValues: Tensor<'f32'>
  readonly #device: Device

  constructor(device: Device, config: TemiHeadsConfig, runs: number) {
    this.config = config
    this.runs = runs
    this.#device = device
    const shapes = Array.from(temiHeadShapes(config), ([name, [width, ...rest]]) => {
      return [name, [runs, config.heads * width!, ...rest]] as const
    })
    this.student = new Parameters(device, new Map(shapes))
    const { values, tensors } = this.student
    this.#teacherValues = keep(device.tensor(new Float32Array(values.size), [values.size]))
    const { allocation } = this.#teacherValues
    this.teacher = new Map(
      Array.from(tensors, ([name, { shape, offset }]) => [
        name,
        keep(new Tensor(device, allocation, shape, 'f32', offset)),
      ]),
    )
  }

  /** Fresh weights, run r's from seeds[r], for student and teacher alike. */
  initialize(seeds: readonly number[]): void {
    const { runs, student } = this
    expectShape('TemiHeads.initialize', 'seeds', [seeds.length], [runs])
    const fixed = new Map<string, Float32Array>()
    for (const [name, { size }] of student.tensors) {
      fixed.set(name, new Float32Array(size).fill(name.endsWith('weight_g') ? 1 : 0))
    }
    student.write(fixed)
    const device = this.#device
    const seedTensor = device.tensor(Uint32Array.from(seeds), [runs])
    let stream = 0
    for (const [name, out] of student.tensors) {
      if (out.shape.length < 3) continue
      const params = { runs, size: out.size / runs, stream: stream++, scale: DEVIATION }
      device.dispatch(initializeKernel({ kind: 'normal' }), { seeds: seedTensor, out }, params)
      expectShape('TemiHeads', name, out.shape, student.get(name).shape)
    }
    seedTensor.dispose()
    this.#teacherValues.write(new Float32Array(student.values.size))
    this.average(0)
  }

  /** Enqueues teacher ← momentum · teacher + (1 − momentum) · student. */
  average(momentum: number): void {
    const { values } = this.student
    this.#device.dispatch(
      movingAverageKernel({ vector: true }),
      { x: values, average: this.#teacherValues },
      { size: values.size / 4, rate: 1 - momentum },
    )
  }

  /**
   * Logits of all heads.
   *
   * @param x [R, rows, d], without a gradient
   * @returns [R, N, rows, K]
   */
  forward(x: Tensor<'f32'>, who: 'student' | 'teacher'): Tensor<'f32'> {
    const { runs, config, student, teacher } = this
    const rows = x.shape[1]!
    const all = runs * config.heads
    if (who === 'student') {
      return scope(() => {
        const logits = layers((name) => student.get(name), this.#repeated(x), all, config)
        return reshape(logits, [runs, config.heads, rows, config.clusters])
      })
    }
    return withoutTape(() =>
      scope(() => {
        const logits = layers((name) => teacher.get(name)!, this.#repeated(x), all, config)
        return logits.view([runs, config.heads, rows, config.clusters])
      }),
    )
  }

  /** Features for every head: of a single run they are shared, not copied. */
  #repeated(x: Tensor<'f32'>): Tensor<'f32'> {
    const [runs, rows, dimension] = x.shape as [number, number, number]
    if (runs === 1) return x.view([rows, dimension])
    const { heads } = this.config
    const zeros = this.#device.tensor(new Float32Array(heads), [1, heads, 1, 1])
    const spread = add(x.view([runs, 1, rows, dimension]), zeros)
    return spread.view([runs * heads, rows, dimension])
  }

  /**
   * The teacher's logits of one head of every run.
   *
   * @param x [R, rows, d], or [rows, d] for all runs
   * @param chosen [R]: number of each run's head among all R·N
   * @returns [R, rows, K]
   */
  forwardChosen(x: Tensor<'f32'>, chosen: Tensor<'u32'>): Tensor<'f32'> {
    const { runs, config, teacher } = this
    return withoutTape(() =>
      scope(() => {
        const weights: Weights = (name) => {
          const tensor = teacher.get(name)!
          const size = tensor.size / (runs * config.heads)
          return gatherRows(tensor.view([runs * config.heads, size]), chosen)
        }
        return layers(weights, x, runs, config)
      }),
    )
  }

  /** Copies the teacher's head `head` of a run to the host, by the names of {@link temiHeadShapes}. */
  async read(run: number, head: number): Promise<HeadWeights> {
    const values = this.student.unpack(await this.#teacherValues.read())
    const weights = new Map<string, { shape: Shape; data: Float32Array }>()
    const first = run * this.config.heads + head
    for (const [name, shape] of temiHeadShapes(this.config)) {
      const size = sizeOf(shape)
      weights.set(name, { shape, data: values.get(name)!.slice(first * size, (first + 1) * size) })
    }
    return weights
  }

  /** Gives all heads of a single run these weights, student and teacher. */
  write(weights: HeadWeights): void {
    expectShape('TemiHeads.write', 'the heads', [this.runs], [1])
    const { heads } = this.config
    const values = new Map<string, Float32Array>()
    for (const [name, { data }] of weights) {
      const all = new Float32Array(heads * data.length)
      for (let head = 0; head < heads; head++) all.set(data, head * data.length)
      values.set(name, all)
    }
    this.student.write(values)
    this.#teacherValues.write(this.student.pack(values))
  }

  dispose(): void {
    this.student.dispose()
    this.teacher.forEach((tensor) => tensor.dispose())
    this.#teacherValues.dispose()
  }
}

/** The layers of H heads: x [H, rows, d] or [rows, d] → [H, rows, K]. */
function layers(
  weights: Weights,
  x: Tensor<'f32'>,
  heads: number,
  { dimension, clusters, hidden, bottleneck }: Omit<TemiHeadsConfig, 'heads'>,
): Tensor<'f32'> {
  const of = (name: string, ...shape: number[]): Tensor<'f32'> =>
    reshape(weights(name), [heads, ...shape])
  const inner = gelu(linearRuns(x, of('mlp.0.weight', hidden, dimension), of('mlp.0.bias', hidden)))
  const z = linearRuns(inner, of('mlp.2.weight', bottleneck, hidden), of('mlp.2.bias', bottleneck))
  const directions = l2Normalize(of('last_layer.weight_v', clusters, bottleneck))
  const weight = multiply(directions, of('last_layer.weight_g', clusters, 1))
  return linearRuns(l2Normalize(z), weight)
}

/**
 * The head of lowest loss of every run, as its number among all R·N; ties to the lowest.
 *
 * @param losses [R, N]
 * @returns [R]
 */
export function bestHeads(losses: Tensor<'f32'>): Tensor<'u32'> {
  const [runs, heads] = losses.shape as [number, number]
  const { device } = losses
  return scope(() => {
    // Another run's heads are never the lowest.
    const others = Float32Array.from({ length: runs * runs * heads }, (_, i) =>
      Math.floor(i / (runs * heads)) === Math.floor((i % (runs * heads)) / heads) ? 0 : 1e30,
    )
    const all = losses.view([1, runs * heads])
    return argmin(add(all, device.tensor(others, [runs, runs * heads])), { axis: -1 })
  })
}

/** Logits of one head by weights that were read, at temperature τ; for prediction alone. */
export function temiLogits(
  x: Tensor<'f32'>,
  weights: ReadonlyMap<string, Tensor<'f32'>>,
  config: Omit<TemiHeadsConfig, 'heads'>,
  temperature: number,
): Tensor<'f32'> {
  return scope(() => {
    const logits = layers((name) => weights.get(name)!, x, 1, config)
    return scale(logits, 1 / temperature).view([x.shape.at(-2)!, config.clusters])
  })
}
