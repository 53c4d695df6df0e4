import { readFile } from 'node:fs/promises'
import {
  KeeplightError,
  normalizeRows,
  parseSafetensors,
  serializeSafetensors,
  type Features,
} from '../../src/index.node.ts'

import { studyData, type StudyData } from '../../src/cli/studies/data.ts'

/** CIFAR-10 as features. */
export interface Dataset {
  /** Where it comes from, for the printout. */
  readonly source: string
  readonly train: Features
  readonly trainLabels: Int32Array
  /** [M, D], L2-normalised; empty when nothing is scored on it. */
  readonly test: Float32Array
  readonly testLabels: Int32Array
  /** The images are in the reference's order, so that every size has the reference's images. */
  readonly isReferenceOrder: boolean
}

/**
 * Reads features in the layout of the goldens: `train_clean` [N, D], `train_views` [V, N, D],
 * `train_labels` [N], `test` [M, D], `test_labels` [M], and the order named in the metadata.
 */
export async function readFeatures(path: string): Promise<Dataset> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new KeeplightError('input', `--features ${path} can't be read: ${String(cause)}`)
  })
  const file = parseSafetensors(bytes)
  const [views = 0, count = 0, dimension = 0] = file.tensors.get('train_views')?.shape ?? []
  if (count === 0) {
    throw new KeeplightError('format', `${path} has no train_views [V, N, D]`)
  }
  const test = file.float32('test')
  normalizeRows(test, dimension)
  const clean = file.float32('train_clean')
  return {
    source: `features of ${path}`,
    train: { count, dimension, views, clean, augmented: file.float32('train_views') },
    trainLabels: file.int32('train_labels'),
    test,
    testLabels: file.int32('test_labels'),
    isReferenceOrder: !file.metadata.has('shuffle_seed'),
  }
}

/** The bytes of a file that {@link readFeatures} reads back as the same data set. */
export function featureFile(dataset: Dataset, shuffleSeed: number): Uint8Array {
  const { train, trainLabels, test, testLabels } = dataset
  const { count, dimension, views, clean, augmented } = train
  const rows = testLabels.length
  return serializeSafetensors(
    {
      train_clean: { dtype: 'F32', shape: [count, dimension], data: clean },
      train_views: { dtype: 'F32', shape: [views, count, dimension], data: augmented },
      train_labels: { dtype: 'I32', shape: [count], data: trainLabels },
      test: { dtype: 'F32', shape: [rows, dimension], data: test },
      test_labels: { dtype: 'I32', shape: [rows], data: testLabels },
    },
    { shuffle_seed: String(shuffleSeed) },
  )
}

/** The first `count` images. */
export function firstImages(features: Features, count: number): Features {
  const { dimension, views, count: all } = features
  const augmented = new Float32Array(views * count * dimension)
  for (let view = 0; view < views; view++) {
    const start = view * all * dimension
    const part = features.augmented.subarray(start, start + count * dimension)
    augmented.set(part, view * count * dimension)
  }
  const clean = features.clean.slice(0, count * dimension)
  return { count, dimension, views, clean, augmented }
}

/** The first `count` images as a study's data: scored on the test images, or on themselves. */
export function studyOf(dataset: Dataset, count: number, onTest: boolean): StudyData {
  const { train, trainLabels, test, testLabels } = dataset
  const classes = Array.from({ length: CLASSES }, (_, i) => String(i))
  const features = firstImages(train, count)
  const fit = { features, labels: trainLabels.slice(0, count), classes }
  const { dimension } = train
  const scored = {
    features: { count: testLabels.length, dimension, views: 0, clean: test, augmented: noViews },
    labels: testLabels,
    classes,
  }
  return studyData('CIFAR-10', fit, onTest ? scored : undefined)
}

const CLASSES = 10
const noViews = new Float32Array(0)
