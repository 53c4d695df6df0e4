import { cluster, drawScene, embedImages, sceneKinds, viewPicture } from '../../src/index.ts'
import type {
  ClusterOptions,
  ClusterResult,
  Device,
  TraceRow,
  VisionModel,
} from '../../src/index.ts'
import { sha256 } from './sha256.ts'

/**
 * One whole run in small: drawn pictures, their views, features by the encoder, and SCP with noise,
 * pairs of neighbours and two restarts. It returns SHA-256 hashes of the bits of every stage, so that
 * two runs can be compared wherever they ran, and the first stage that differs has a name.
 *
 * Like the library, this file runs in Node and in a page; it must not import the test runner.
 */
export interface SmallRun {
  /** Bytes of the drawn pictures. */
  readonly pixels: string
  /** Clean features, then those of the views. */
  readonly features: string
  /** Features that `model.embed` gives of the pictures, rows of length 1. */
  readonly embedded: string
  /** Step, loss terms and learning rate of every step of the kept run. */
  readonly trace: string
  /** Weights and running statistics of the kept head, in the order of their names. */
  readonly head: string
  readonly probabilities: string
  /** Total loss of every step; not a hash, so that a test can see that there is something in it. */
  readonly losses: readonly number[]
  /** Last loss of each restart, whose seeds differ. */
  readonly restarts: readonly number[]
  /** Assignments of both restarts. */
  readonly assignments: string
  /** Trace, head and assignments of shorter runs: on features that stay on the host and stream. */
  readonly streamed: string
  /** The same run on features that lie on the GPU. */
  readonly resident: string
  /** The same on views made fresh each epoch. */
  readonly online: string
}

export async function smallRun(device: Device, model: VisionModel): Promise<SmallRun> {
  const pictures = sceneKinds.map((kind) => drawScene(kind, 11))
  const features = await embedImages(model, pictures, { views: 1, seed: 5 })
  const embedded = await model.embed(pictures, { normalize: true, batch: 8 })
  const result = await cluster(features, {
    device,
    seed: 5,
    k: 3,
    noise: 2,
    pairs: 3,
    restarts: 2,
    epochs: 1,
    minSteps: 12,
    batch: 6,
  })
  const short = async (options: Partial<ClusterOptions>): Promise<string> => {
    const settings = { device, seed: 6, k: 3, noise: 1, pairs: 2, restarts: 2, epochs: 1 }
    const run = await cluster(features, { ...settings, minSteps: 4, batch: 4, ...options })
    return sha256([traceOf(run), ...headOf(run), ...run.runs])
  }
  const views = pictures.map((picture, i) => viewPicture(picture, model.preprocess, i))
  return {
    pixels: await sha256(pictures.map(({ data }) => data)),
    features: await sha256([features.clean, features.augmented]),
    embedded: await sha256([embedded.data]),
    trace: await sha256([traceOf(result)]),
    head: await sha256(headOf(result)),
    probabilities: await sha256([result.probabilities]),
    losses: result.trace.map(({ total }) => total),
    restarts: result.restarts.map(({ loss }) => loss),
    assignments: await sha256(result.runs),
    streamed: await short({ memoryBudget: 0 }),
    resident: await short({}),
    online: await short({ online: { encoders: [{ model, pictures: () => views }], refresh: 2 } }),
  }
}

/** In the order of their names. */
const headOf = ({ head }: ClusterResult): Float32Array[] =>
  [...head].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { data }]) => data)

const traceOf = ({ trace }: ClusterResult): Float64Array =>
  Float64Array.from(trace.flatMap(rowValues))

function rowValues(row: TraceRow): number[] {
  const { step, total, crossEntropy, confidence, negativeEntropy, learningRate } = row
  return [step, total, crossEntropy!, confidence!, negativeEntropy!, learningRate]
}
