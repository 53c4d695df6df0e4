import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { InvalidArgumentError } from 'commander'
import type { ImageCollection } from '../../data/collection.ts'
import type { Device, VisionModel } from '../../index.node.ts'
import { normalizeRows, type Features } from '../../model/features.ts'
import { KeeplightError } from '../../runtime/errors.ts'
import type { Context } from '../context.ts'
import type { MixedModel } from '../mixedModel.ts'
import { featuresOf, openData, type FeatureSettings } from '../openData.ts'
import type { DataSettings } from '../settings.ts'

/** A data set as `--data` names it. */
export interface DataSpec extends DataSettings {
  readonly name: string
  readonly path: string
  /** Images to score on, where they are not part of the data set itself. */
  readonly test?: string
}

/**
 * Parses `[NAME=]PATH[,test=PATH][,labels=fine|coarse][,synsets=LIST]` and adds it to those before it.
 * Other commas belong to the path.
 */
export function dataSpec(text: string, before: readonly DataSpec[] = []): DataSpec[] {
  const [head, ...rest] = text.split(/,(?=(?:test|labels|synsets)=)/)
  const named = /^([^=/\\]+)=(.+)$/s.exec(head)
  const path = named?.[2] ?? head
  const name = named?.[1] ?? basename(path)
  const extras = Object.fromEntries(
    rest.map((part) => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]),
  )
  const { labels } = extras
  if (path === '' || Object.values(extras).includes('')) {
    throw new InvalidArgumentError('Expected NAME=PATH, as in CIFAR-10=cifar-10-batches-bin.')
  }
  if (labels !== undefined && labels !== 'fine' && labels !== 'coarse') {
    throw new InvalidArgumentError(`labels=${labels}: expected fine or coarse.`)
  }
  if (before.some((other) => other.name === name)) {
    throw new InvalidArgumentError(`There are two data sets named ${name}; give them other names.`)
  }
  return [...before, { ...extras, labels, name, path }]
}

/** A data set's features, ready for studies. */
export interface StudyData {
  readonly name: string
  /** What methods are fitted on. */
  readonly features: Features
  /** Class of each of them. */
  readonly labels: Int32Array
  /** [N, D]: the clean features, normalised. */
  readonly clean: Float32Array
  /** [M, D], normalised: what is scored; `clean` itself where there are no test images. */
  readonly scored: Float32Array
  readonly scoredLabels: Int32Array
  readonly onTest: boolean
  readonly classes: readonly string[]
  /** K: number of classes, which is the number of clusters that methods are asked for. */
  readonly k: number
  /** Of features and labels: equal data have equal ones. */
  readonly fingerprint: string
}

/** A data set, and the model that its features come from. */
interface Loaded {
  readonly data: StudyData
  readonly model: string
}

/**
 * Opens a data set and embeds it, or takes the features of a file. It is fitted on its training images and
 * scored on its test images where it has both (`test=`, or the two parts of CIFAR and STL-10), else fitted
 * and scored on the same images.
 *
 * @param openEncoder called only where images are embedded
 * @throws KeeplightError `input`: no labels, other classes among the test images
 */
export async function loadStudyData(
  spec: DataSpec,
  settings: FeatureSettings,
  device: Device,
  openEncoder: () => Promise<VisionModel | MixedModel>,
  context: Context,
): Promise<Loaded> {
  const { name, path, test: testPath, labels, synsets } = spec
  const load = async (from: string, views: number): Promise<NamedImages> => {
    const opened = await openData(from, { labels, synsets }, context.signal)
    const encoder = opened.stored ? undefined : await openEncoder()
    const { collection } = opened
    requireClasses(collection)
    const { terminal } = context
    terminal.note(`${collection.root}: ${collection.files.length} images`)
    const found = await featuresOf(opened, { ...settings, views }, device, context, encoder)
    return named(collection, found)
  }
  const whole = await load(path, settings.views)
  const { model } = whole
  if (testPath === undefined) {
    const [train, test] = splitOf(whole)
    if (train.length === 0 || test.length === 0) {
      return { model, data: studyData(name, whole, undefined) }
    }
    return { model, data: studyData(name, take(whole, train), take(whole, test)) }
  }
  const test = await load(testPath, 0)
  if (test.classes.join('\n') !== whole.classes.join('\n')) {
    throw new KeeplightError(
      'input',
      `${testPath}: its classes (${test.classes.join(', ')}) are not those of ${path} ` +
        `(${whole.classes.join(', ')}). Test images need the same.`,
    )
  }
  if (test.features.dimension !== whole.features.dimension || test.model !== model) {
    throw new KeeplightError(
      'input',
      `${testPath}: its features are of ${test.model}, those of ${path} of ${model}. Embed both by one.`,
    )
  }
  return { model, data: studyData(name, whole, test) }
}

/** Features of images whose classes are known. */
export interface Labelled {
  readonly features: Features
  readonly labels: Int32Array
  readonly classes: readonly string[]
}

/** The same, with what tells training from test images, and the model of the features. */
interface NamedImages extends Labelled {
  readonly files: readonly string[]
  readonly kind: string
  readonly model: string
}

function requireClasses({ root, labels, classes }: ImageCollection): void {
  if (labels && classes.length >= 2) return
  throw new KeeplightError(
    'input',
    `${root}: has no classes to score with; give a data set with labels, such as one folder a class`,
  )
}

function named(
  { labels, classes, files, kind }: ImageCollection,
  { collected: { features, kept }, model }: Awaited<ReturnType<typeof featuresOf>>,
): NamedImages {
  return {
    ...{ features, classes, kind, model: model.name },
    labels: Int32Array.from(kept, (index) => labels![index]),
    files: kept.map((index) => files[index]),
  }
}

/** Which images are for training and which for testing, by the files of a binary data set. */
function splitOf({ kind, files }: NamedImages): [train: number[], test: number[]] {
  const indices = Array.from(files.keys())
  if (!['cifar-10', 'cifar-100', 'stl-10'].includes(kind)) return [indices, []]
  const isTest = (i: number): boolean => files[i].startsWith('test')
  return [indices.filter((i) => !isTest(i)), indices.filter(isTest)]
}

/** Some of the images. */
function take({ features, labels, classes }: Labelled, indices: readonly number[]): Labelled {
  return {
    features: takeFeatures(features, indices),
    labels: Int32Array.from(indices, (i) => labels[i]),
    classes,
  }
}

/** The features of some images, in their order. */
export function takeFeatures(features: Features, indices: readonly number[]): Features {
  const { count: all, dimension, views } = features
  const count = indices.length
  const rows = (data: Float32Array, blocks: number): Float32Array => {
    const taken = new Float32Array(blocks * count * dimension)
    for (let block = 0; block < blocks; block++) {
      indices.forEach((index, i) => {
        const start = (block * all + index) * dimension
        taken.set(data.subarray(start, start + dimension), (block * count + i) * dimension)
      })
    }
    return taken
  }
  return {
    ...{ count, dimension, views },
    clean: rows(features.clean, 1),
    augmented: rows(features.augmented, views),
  }
}

/** Puts a data set together from what is fitted and what is scored; without `test` both are the same. */
export function studyData(name: string, fit: Labelled, test: Labelled | undefined): StudyData {
  const { features, labels, classes } = fit
  const clean = normalized(features)
  const scored = test ? normalized(test.features) : clean
  const scoredLabels = test ? test.labels : labels
  const hash = createHash('sha256')
  for (const part of [clean, features.augmented, labels, scored, scoredLabels]) {
    hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength))
  }
  const fingerprint = hash.digest('hex').slice(0, 16)
  return {
    ...{ name, features, labels, clean, scored, scoredLabels, classes, fingerprint },
    onTest: test !== undefined,
    k: classes.length,
  }
}

function normalized({ clean, dimension }: Features): Float32Array {
  const rows = clean.slice()
  normalizeRows(rows, dimension)
  return rows
}
