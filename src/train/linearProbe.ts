import { permutationKey, permute } from '../kernels/permutation.ts'
import { normalizeRows, type Features } from '../model/features.ts'
import type { HeadWeights } from '../model/mlpHead.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { ResidentSource } from './batchSource.ts'
import { FeatureStore } from './featureStore.ts'
import { LinearProbeAdapter } from './linearProbeAdapter.ts'
import { decayMatricesOfRuns, parameterGroups } from './parameterGroups.ts'
import { predictRuns } from './predictRuns.ts'
import { cosineSchedule } from './schedule.ts'
import { train } from './trainer.ts'
import type { TraceRow } from './trainingState.ts'

export interface LinearProbeOptions {
  readonly device: Device
  /** Images to score on, with features of the same model. Default: a part of those given. */
  readonly test?: {
    readonly features: Pick<Features, 'count' | 'dimension' | 'clean'>
    readonly labels: ArrayLike<number>
  }
  /** Without `test`, the share of every class that is held out. Default 0.2. */
  readonly holdOut?: number
  /** K. Default: one more than the largest label. */
  readonly classes?: number
  /** Passes over the training images. Default 100. */
  readonly epochs?: number
  /** Steps at least, however few images there are. Default 500. */
  readonly minSteps?: number
  /** Images of a step at most. Default 512. */
  readonly batch?: number
  /** At first; it falls to 0 by a cosine. Default 0.03. */
  readonly learningRate?: number
  /** Weight decay of the matrix, AdamW's. Default 1e-4. */
  readonly decay?: number
  /** Default 0. */
  readonly labelSmoothing?: number
  /** Of the split, the initial weights and the order of images. Default 0. */
  readonly seed?: number
  readonly onProgress?: (progress: { readonly step: number; readonly steps: number }) => void
  readonly signal?: AbortSignal | undefined
}

export interface LinearProbeResult {
  /** K */
  readonly classes: number
  /** Share of the held-out images whose most probable class is their label. */
  readonly accuracy: number
  /** The same on the images that it was trained on. */
  readonly trainAccuracy: number
  /** Numbers of the images that it was trained on, and of those held out; of `test`, all. */
  readonly trained: readonly number[]
  readonly tested: readonly number[]
  /** Class of every held-out image, in the order of `tested`. */
  readonly predictions: Int32Array
  /** `0.weight` [K, d] and `0.bias` [K], for L2-normalised features. */
  readonly weights: HeadWeights
  readonly trace: readonly TraceRow[]
  readonly steps: number
}

const DEFAULTS = {
  ...{ holdOut: 0.2, epochs: 100, minSteps: 500, batch: 512 },
  ...{ learningRate: 0.03, decay: 1e-4, labelSmoothing: 0, seed: 0 },
} as const

/**
 * Trains one linear layer on frozen, L2-normalised features with labels, by cross-entropy and AdamW, and
 * scores it on images that it did not see: the usual measure of what features know. Augmented views take
 * part in training; scores are on clean ones.
 *
 * @param labels [N], classes from 0
 * @throws KeeplightError `usage` for impossible options, `input` for labels that don't fit, `aborted` when
 *   the signal says so
 */
export async function linearProbe(
  features: Features,
  labels: ArrayLike<number>,
  options: LinearProbeOptions,
): Promise<LinearProbeResult> {
  const { device, test, onProgress, signal } = options
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const own = { ...DEFAULTS, ...(Object.fromEntries(given) as Partial<typeof DEFAULTS>) }
  const classes = check(features, labels, options, own)
  const { trained, tested } = test
    ? { trained: range(features.count), tested: range(test.features.count) }
    : split(labels, own.holdOut, own.seed)
  const store = new FeatureStore(device, rowsOf(features, trained))
  const batch = Math.min(own.batch, trained.length)
  const source = new ResidentSource(device, store, { batch, pairs: 0, noise: 0 })
  const own32 = Uint32Array.from(trained, (image) => labels[image]!)
  const sizes = { runs: 1, dimension: features.dimension, outputs: classes }
  const adapter = new LinearProbeAdapter(device, sizes, own32, own)
  const groups = parameterGroups(adapter.parameters, decayMatricesOfRuns(own.decay))
  const steps = Math.max(own.minSteps, own.epochs * source.stepsPerEpoch)
  try {
    return await train(
      {
        ...{ adapter, source, groups, signal },
        seeds: [own.seed],
        learningRates: cosineSchedule(steps, own.learningRate),
        onProgress: ({ step }) => onProgress?.({ step, steps }),
      },
      async ({ readTrace }) => {
        const predict = async (data: Float32Array): Promise<Int32Array> => {
          const { dimension } = features
          const count = data.length / dimension
          return (await predictRuns(adapter, { data, count, dimension, rows: 2 * batch }))[0]!
        }
        const unseen = rowsOf({ ...(test?.features ?? features), ...CLEAN }, tested).clean
        normalizeRows(unseen, features.dimension)
        const predictions = await predict(unseen)
        const testLabels = test?.labels ?? labels
        return {
          classes,
          accuracy: share(predictions, (i) => testLabels[tested[i]!]!),
          trainAccuracy: share(await predict(store.clean), (i) => own32[i]!),
          ...{ trained, tested, predictions, steps },
          weights: await adapter.read(0),
          trace: await readTrace(0),
        }
      },
    )
  } finally {
    groups.table.dispose()
    adapter.dispose()
    source.dispose()
    store.dispose()
  }
}

/** Without augmented views. */
const CLEAN = { views: 0, augmented: new Float32Array() }

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

const share = (predictions: Int32Array, label: (i: number) => number): number =>
  predictions.reduce((sum, value, i) => sum + (value === label(i) ? 1 : 0), 0) / predictions.length

/** Chosen images of features, with their views. */
function rowsOf(features: Features, images: readonly number[]): Features {
  const { count, dimension, views, clean, augmented } = features
  const take = (data: Float32Array, first: number, out: Float32Array, at: number): void => {
    images.forEach((image, i) => {
      const start = (first + image) * dimension
      out.set(data.subarray(start, start + dimension), (at + i) * dimension)
    })
  }
  const part = {
    ...{ count: images.length, dimension, views },
    clean: new Float32Array(images.length * dimension),
    augmented: new Float32Array(views * images.length * dimension),
  }
  take(clean, 0, part.clean, 0)
  for (let view = 0; view < views; view++) {
    take(augmented, view * count, part.augmented, view * images.length)
  }
  return part
}

/**
 * Splits every class by itself, in an order drawn from the seed: the share that is held out, rounded, but
 * at least one image and never all.
 */
function split(
  labels: ArrayLike<number>,
  holdOut: number,
  seed: number,
): { trained: number[]; tested: number[] } {
  const members = new Map<number, number[]>()
  for (let image = 0; image < labels.length; image++) {
    const label = labels[image]!
    const images = members.get(label)
    if (images) images.push(image)
    else members.set(label, [image])
  }
  const tested = new Set<number>()
  for (const [label, images] of members) {
    if (images.length < 2) {
      throw new KeeplightError(
        'input',
        `linearProbe: class ${label} has one image, expected two or more: one to train on, one to ` +
          'test on. Add images, or leave the class out.',
      )
    }
    const held = Math.min(images.length - 1, Math.max(1, Math.round(holdOut * images.length)))
    const key = permutationKey(seed, label)
    for (let i = 0; i < held; i++) tested.add(images[permute(i, images.length, key)]!)
  }
  const all = range(labels.length)
  return {
    trained: all.filter((image) => !tested.has(image)),
    tested: all.filter((image) => tested.has(image)),
  }
}

/** Checks what can be checked before anything is trained; gives K. */
function check(
  { count, dimension }: Features,
  labels: ArrayLike<number>,
  { test, classes: wanted }: LinearProbeOptions,
  options: Readonly<Record<keyof typeof DEFAULTS, number>>,
): number {
  const all = [
    { name: 'labels', labels, images: count },
    ...(test ? [{ name: 'test.labels', labels: test.labels, images: test.features.count }] : []),
  ]
  let classes = wanted ?? 0
  for (const { name, labels, images } of all) {
    if (labels.length !== images || images === 0) {
      throw new KeeplightError(
        'input',
        `linearProbe: ${labels.length} ${name} for ${images} images, expected one for each of one or more`,
      )
    }
    for (let i = 0; i < images; i++) {
      const label = labels[i]!
      if (!Number.isInteger(label) || label < 0 || (wanted !== undefined && label >= wanted)) {
        const most = wanted === undefined ? '' : ` to ${wanted - 1}`
        throw new KeeplightError(
          'input',
          `linearProbe: ${name}[${i}] is ${label}, expected a whole number from 0${most}`,
        )
      }
      if (wanted === undefined) classes = Math.max(classes, label + 1)
    }
  }
  if (test && test.features.dimension !== dimension) {
    throw new KeeplightError(
      'input',
      `linearProbe: test.features have ${test.features.dimension} values, expected ${dimension}, as the ` +
        'others; embed both with one model',
    )
  }
  if (classes < 2) {
    throw new KeeplightError('input', 'linearProbe: all labels are 0, expected two classes or more')
  }
  checkOptions(options)
  return classes
}

function checkOptions(options: Readonly<Record<keyof typeof DEFAULTS, number>>): void {
  const { holdOut, epochs, minSteps, batch, learningRate, decay, labelSmoothing } = options
  const wrong = (name: string, value: number, expected: string): never => {
    throw new KeeplightError('usage', `linearProbe: ${name} is ${value}, expected ${expected}`)
  }
  for (const [name, value] of Object.entries({ epochs, minSteps, batch })) {
    if (!Number.isInteger(value) || value < 1) wrong(name, value, 'a whole number of 1 or more')
  }
  if (!(holdOut > 0 && holdOut < 1)) wrong('holdOut', holdOut, 'between 0 and 1')
  if (!(learningRate > 0 && learningRate < Infinity)) wrong('learningRate', learningRate, 'above 0')
  if (!(decay >= 0 && decay < Infinity)) wrong('decay', decay, '0 or more')
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
    wrong('labelSmoothing', labelSmoothing, '0 to 1')
}
