import { realpath, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Features } from '../model/features.ts'
import { halvesToFloats } from '../model/half.ts'
import { KeeplightError } from '../runtime/errors.ts'
import type { LabelKind } from './binarySet.ts'
import { everyIndex, type ImageCollection } from './collection.ts'
import { readError } from './diskFile.node.ts'
import { checkedLine, FeatureFile, featurePaths, linesOf } from './featureFile.node.ts'
import { fileCollection } from './folder.node.ts'
import { openCollection } from './openCollection.node.ts'

/** What a file of features holds beside the names and labels of its images. */
export interface StoredFeatures {
  /** The encoder that made them. */
  readonly model: { readonly name: string; readonly hash: string; readonly dimension: number }
  /** The clean view of every image, not normalised; no augmented views. */
  readonly features: Features
  /** Images that could not be read when they were embedded. */
  readonly failed: readonly { readonly path: string; readonly message: string }[]
}

export interface FeatureCollectionOptions {
  /** Which labelling of CIFAR-100 counts; default: the one that it was embedded with. */
  readonly labels?: LabelKind | undefined
  /** The collection that was embedded, of any kind, for its pictures. */
  readonly images?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** Bytes of features that are read at once. */
const PART = 64 * 1024 * 1024

/**
 * Opens a file of features that `embedCollection` wrote as the collection of its images: names and labels
 * from the file, pictures from `images`, else from files of these names beside it or in the folder that
 * has its name (`photos/` for `photos.safetensors`), else none.
 *
 * @throws KeeplightError `input` when it or `images` can't be opened, `format` when it is damaged
 */
export async function openFeatureCollection(
  path: string,
  { labels: kind, images, signal }: FeatureCollectionOptions = {},
): Promise<{ readonly collection: ImageCollection; readonly stored: StoredFeatures }> {
  const root = await realpath(path).catch((cause: unknown) => {
    throw readError(path, cause)
  })
  const file = await FeatureFile.open(root)
  try {
    const { job, classes, coarseClasses } = file.info
    const coarse = kind === 'coarse'
    if (kind !== undefined && coarseClasses.length === 0) {
      throw new KeeplightError(
        'input',
        `${path}: has one labelling, and ${kind} labels were asked for, which CIFAR-100 has. ` +
          'Leave them out.',
      )
    }
    const { clean, labels } = await readRows(file, coarse ? 'coarse_labels' : 'labels')
    const files = await namesOf(file)
    const named = {
      ...{ root, files, labels, ignored: 0 },
      classes: coarse ? coarseClasses : classes,
    }
    const { dimension } = job
    const features = { count: files.length, dimension, views: 0, clean, augmented: empty }
    const stored = { model: { ...job.model, dimension }, features, failed: await failedOf(root) }
    return { collection: await withPictures(named, images, signal), stored }
  } finally {
    await file.close()
  }
}

const empty = new Float32Array(0)
type Named = Omit<ImageCollection, 'kind' | 'read' | 'holder'>
const kind = 'features'

async function readRows(
  file: FeatureFile,
  labelling: string,
): Promise<{ clean: Float32Array; labels: Int32Array | undefined }> {
  const { rows, job } = file.info
  const { dimension, store } = job
  const clean = new Float32Array(rows * dimension)
  let labels: Int32Array | undefined
  const part = Math.max(1, Math.floor(PART / (4 * dimension)))
  for (let first = 0; first < rows; first += part) {
    const last = Math.min(rows, first + part)
    const tensors = await file.read(first, last)
    const { buffer } = new Uint8Array(tensors.features)
    const values =
      store === 'f16' ? halvesToFloats(new Uint16Array(buffer)) : new Float32Array(buffer)
    const wrong = values.findIndex((value) => !Number.isFinite(value))
    if (wrong >= 0) {
      const row = first + Math.floor(wrong / dimension)
      throw new KeeplightError(
        'format',
        `${file.path}: row ${row} has the value ${values[wrong]}, expected numbers. Embed again ` +
          'with --overwrite.',
      )
    }
    clean.set(values, first * dimension)
    const bytes = tensors[labelling] as Buffer | undefined
    if (!bytes) continue
    labels ??= new Int32Array(rows)
    labels.set(new Int32Array(new Uint8Array(bytes).buffer), first)
  }
  return { clean, labels }
}

async function namesOf(file: FeatureFile): Promise<string[]> {
  const indices = await file.indices()
  const lines = linesOf(featurePaths(file.path).images)
  const files: string[] = []
  for (const [row, index] of indices.entries()) {
    const { value } = (await lines.next()) as { value: unknown }
    files.push((JSON.parse(checkedLine(file.path, value, row, index)) as { path: string }).path)
  }
  await lines.return(undefined)
  return files
}

async function failedOf(path: string): Promise<StoredFeatures['failed']> {
  const failed: { path: string; message: string }[] = []
  for await (const line of linesOf(featurePaths(path).failed, true)) {
    const { path, error } = JSON.parse(line) as { path: string; error: string }
    failed.push({ path, message: error })
  }
  return failed
}

async function withPictures(
  named: Named,
  images: string | undefined,
  signal: AbortSignal | undefined,
): Promise<ImageCollection> {
  if (images !== undefined) {
    return picturesOf(named, await openCollection(images, { signal }))
  }
  const { root, files } = named
  for (const folder of [dirname(root), root.replace(/\.safetensors$/i, '')]) {
    const pathOf = (index: number): string => join(folder, files[index]!)
    const there = await stat(pathOf(0)).catch(() => undefined)
    if (there?.isFile()) return fileCollection(named, kind, pathOf)
  }
  return {
    ...named,
    kind,

    async *read(indices = everyIndex(named)) {
      for (const index of indices) yield { index, content: { unreadable: noPicture } }
    },
  }
}

const noPicture = 'its picture does not lie beside the features; --images names where it is'

/** Names and labels of the features, pictures of a collection that has images of these names. */
function picturesOf(named: Named, images: ImageCollection): ImageCollection {
  const places = new Map(images.files.map((name, index) => [name, index]))
  if (!named.files.some((name) => places.has(name))) {
    throw new KeeplightError(
      'input',
      `${images.root}: has none of the ${named.files.length} images of ${named.root}, such as ` +
        `${named.files[0]}. Give the collection that was embedded as --images.`,
    )
  }
  const holder = (index: number) => {
    const place = places.get(named.files[index]!)
    return place === undefined ? undefined : images.holder?.(place)
  }
  return {
    ...named,
    kind,
    holder: (index) => holder(index) ?? { path: images.root, own: false },
    async *read(indices = everyIndex(named), signal) {
      const rows = new Map<number, number>()
      for (const index of indices) {
        const place = places.get(named.files[index]!)
        if (place === undefined) yield { index, content: { unreadable: noPicture } }
        else rows.set(place, index)
      }
      const wanted = [...rows.keys()].sort((a, b) => a - b)
      for await (const { index, content } of images.read(wanted, signal)) {
        yield { index: rows.get(index)!, content }
      }
    },
  }
}
