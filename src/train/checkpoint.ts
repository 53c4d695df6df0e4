import { parseSafetensors, serializeSafetensors, type TensorData } from '../model/safetensors.ts'
import type { HeadWeights } from '../model/mlpHead.ts'
import type { Features } from '../model/features.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { TraceRow, TrainingSnapshot } from './trainingState.ts'

/** What a run has come to, from its seed to its inertia. */
export interface RestartSummary {
  readonly seed: number
  /** Mean squared distance of the clean, normalised features to their cluster's mean; NaN if it diverged. */
  readonly inertia: number
  /** Loss of the last step; NaN if it diverged. */
  readonly loss: number
  /** Where its loss was first not finite, and in which terms; such a run is never kept. */
  readonly diverged?: { readonly step: number; readonly terms: readonly string[] }
}

/** Runs that are trained and scored. */
export interface FinishedRuns {
  readonly summaries: readonly RestartSummary[]
  /** Of every run [N]; empty for one that diverged. */
  readonly assignments: readonly Int32Array<ArrayBuffer>[]
  /** The run of lowest inertia. */
  readonly best?: BestRun | undefined
}

export interface BestRun {
  readonly run: number
  readonly head: HeadWeights
  readonly trace: readonly TraceRow[]
}

/** What a checkpoint belongs to: it goes on only where all of it is the same. */
export interface Job {
  readonly method: string
  readonly k: number
  readonly seed: number
  /** Runs of every group. */
  readonly groups: readonly number[]
  readonly settings: unknown
  /** See {@link hashFeatures}. */
  readonly features: string
}

export interface Checkpoint {
  readonly job: Job
  readonly finished: FinishedRuns
  /** The group in training, where it is; absent between groups. */
  readonly training?: TrainingSnapshot | undefined
}

const FORMAT = 'keeplight-checkpoint'
const VERSION = '1'

const float = (shape: readonly number[], data: Float32Array): TensorData => ({
  dtype: 'F32',
  shape,
  data,
})

/** A checkpoint as a safetensors file. */
export function serializeCheckpoint(checkpoint: Checkpoint): Uint8Array<ArrayBuffer> {
  const { job, finished, training } = checkpoint
  const tensors: Record<string, TensorData> = {}
  training?.tensors.forEach(({ shape, data }, name) => {
    tensors[`training/${name}`] = float(shape, data)
  })
  finished.assignments.forEach((data, run) => {
    tensors[`assignments/${run}`] = { dtype: 'I32', shape: [data.length], data }
  })
  const { best } = finished
  best?.head.forEach(({ shape, data }, name) => {
    tensors[`best/${name}`] = float(shape, data)
  })
  const columns = Object.keys(best?.trace[0] ?? {})
  if (best) {
    const rows = best.trace.flatMap((row) => columns.map((name) => row[name]!))
    tensors['trace'] = float([best.trace.length, columns.length], Float32Array.from(rows))
  }
  return serializeSafetensors(tensors, {
    format: FORMAT,
    version: VERSION,
    job: JSON.stringify(job),
    // JSON has no NaN: what is null comes back as one.
    summaries: JSON.stringify(finished.summaries),
    ...(best && { best: String(best.run), columns: JSON.stringify(columns) }),
    ...(training && { step: String(training.step) }),
  })
}

/**
 * Reads what {@link serializeCheckpoint} wrote.
 *
 * @throws KeeplightError `format` when it is no checkpoint, or one of another version
 */
export function parseCheckpoint(bytes: Uint8Array): Checkpoint {
  const { tensors, metadata, float32, int32 } = parse(bytes)
  const under = (prefix: string): [string, { shape: readonly number[]; data: Float32Array }][] =>
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, { shape }]) => [name.slice(prefix.length), { shape, data: float32(name) }])
  const parsed = json<readonly (RestartSummary & Record<'inertia' | 'loss', number | null>)[]>(
    metadata,
    'summaries',
  )
  const summaries = parsed.map(({ inertia, loss, ...rest }) => ({
    ...{ ...rest, inertia: inertia ?? NaN, loss: loss ?? NaN },
  }))
  const run = metadata.get('best')
  let best: BestRun | undefined
  if (run !== undefined) {
    const columns = json<readonly string[]>(metadata, 'columns')
    const data = float32('trace')
    const trace = Array.from({ length: data.length / columns.length }, (_, row) => {
      const entries = columns.map((name, i) => [name, data[row * columns.length + i]!] as const)
      return Object.fromEntries(entries) as unknown as TraceRow
    })
    best = { run: Number(run), head: new Map(under('best/')), trace }
  }
  const step = metadata.get('step')
  return {
    job: json<Job>(metadata, 'job'),
    finished: {
      summaries,
      assignments: summaries.map((_, i) => new Int32Array(int32(`assignments/${i}`))),
      best,
    },
    training:
      step === undefined ? undefined : { step: Number(step), tensors: new Map(under('training/')) },
  }
}

function parse(bytes: Uint8Array) {
  const file = parseSafetensors(bytes)
  const { metadata, tensors } = file
  const [format, version] = [metadata.get('format'), metadata.get('version')]
  if (format !== FORMAT || version !== VERSION) {
    throw new KeeplightError(
      'format',
      `checkpoint: its format is ${format ?? 'unnamed'} ${version ?? ''}, expected ${FORMAT} ${VERSION}`,
    )
  }
  return {
    metadata,
    tensors,
    // Copies: the bytes may be anybody's.
    float32: (name: string) => Float32Array.from(file.float32(name)),
    int32: (name: string) => file.int32(name),
  }
}

function json<T>(metadata: ReadonlyMap<string, string>, name: string): T {
  try {
    return JSON.parse(metadata.get(name) ?? '') as T
  } catch (cause) {
    throw new KeeplightError('format', `checkpoint: its ${name} can't be read`, { cause })
  }
}

/**
 * Throws unless a checkpoint is of this job.
 *
 * @throws KeeplightError `input`, naming the first thing that differs
 */
export function expectJob(found: Job, wanted: Job): void {
  const flat = ({ settings, ...rest }: Job): Record<string, unknown> => ({
    ...rest,
    ...(settings as object),
  })
  const [before, now] = [flat(found), flat(wanted)]
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [a, b] = [JSON.stringify(before[name]), JSON.stringify(now[name])]
    if (a === b) continue
    throw new KeeplightError(
      'input',
      `checkpoint: its ${name} is ${a}, this run's is ${b}; ` +
        'give the settings and images that it was written with, or start without it',
    )
  }
}

/** Two FNV-1a hashes of the features' bits, 16 hexadecimal digits; tells collections apart, no more. */
export function hashFeatures({ count, dimension, views, clean, augmented }: Features): string {
  let [a, b] = [0x811c9dc5, 0x9747b28c]
  const take = (word: number): void => {
    a = Math.imul(a ^ word, 0x01000193)
    b = Math.imul(b ^ (word >>> 15) ^ (word << 7), 0x5bd1e995)
  }
  for (const word of [count, dimension, views]) take(word)
  for (const { buffer, byteOffset, length } of [clean, augmented]) {
    new Uint32Array(buffer, byteOffset, length).forEach(take)
  }
  return [a, b].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')
}
