import { KeeplightError } from '../runtime/errors.ts'
import { coarseClassCount, type BinaryLayout, type BinaryPart } from './binaryLayout.ts'
import { everyIndex, type ImageCollection, type ImageContent } from './collection.ts'
import type { FileSet } from './fileSet.ts'
import { pixelsOfPlanes } from './planes.ts'

/** Which of CIFAR-100's two labellings the classes are. */
export type LabelKind = 'fine' | 'coarse'

/** A file of class names or labels is never larger. */
const maximumTextBytes = 1024 * 1024

interface PlacedPart extends BinaryPart {
  /** Index of its first image in the collection, and how many it has. */
  readonly first: number
  readonly count: number
}

/**
 * The images of CIFAR-10, CIFAR-100 or STL-10 in their binary form, in a folder or an archive.
 * Image 7 of `test_batch.bin` is called `test_batch/00007`.
 *
 * @throws KeeplightError `input`: a file of the wrong length, labels that are no class
 */
export async function openBinarySet(
  set: FileSet,
  layout: BinaryLayout,
  labelKind: LabelKind,
  signal?: AbortSignal,
): Promise<ImageCollection> {
  const parts = placeParts(set, layout)
  const last = parts[parts.length - 1]!
  const count = last.first + last.count
  const { fine, coarse } = await readLabels(set, layout, parts, count, signal)
  const classes = await readNames(set, layout.names, layout.classCount, signal)
  const fallback = layout.knownNames ?? numbers(layout.classCount)
  const labelling = { labels: fine, classes: fine ? (classes ?? fallback) : [] }
  const coarseNames = coarse && (await readNames(set, layout.coarseNames, coarseClassCount, signal))
  const coarser = coarse && { labels: coarse, classes: coarseNames ?? numbers(coarseClassCount) }
  const files = parts.flatMap(({ stem, count: images }) => {
    const digits = Math.max(5, String(images - 1).length)
    return Array.from({ length: images }, (_, i) => `${stem}/${String(i).padStart(digits, '0')}`)
  })
  return {
    root: set.root,
    kind: layout.kind,
    files,
    ignored: 0,
    ...(labelKind === 'coarse' && coarser ? coarser : { ...labelling, coarse: coarser }),
    holder: (index) => ({
      path: set.holder(parts.findLast(({ first }) => first <= index)!.file),
      own: false,
    }),
    read: (indices, signal) =>
      readRecords(set, layout, parts, indices ?? everyIndex({ files }), signal),
  }
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => String(i))
}

function recordBytes({ width, height, labelBytes }: BinaryLayout): number {
  return labelBytes + 3 * width * height
}

function placeParts(set: FileSet, layout: BinaryLayout): PlacedPart[] {
  const bytes = recordBytes(layout)
  let first = 0
  return layout.parts.map((part) => {
    const size = set.sizes[part.file]!
    if (size === 0 || size % bytes !== 0) {
      throw new KeeplightError(
        'input',
        `${set.root}: ${set.names[part.file]} has ${size} bytes, expected a multiple of ${bytes} ` +
          `(${layout.kind} stores an image in that many). The file is cut or of another kind; get it again.`,
      )
    }
    const placed = { ...part, first, count: size / bytes }
    first += placed.count
    return placed
  })
}

/** The labels in the records' first bytes, or in files beside them. */
async function readLabels(
  set: FileSet,
  layout: BinaryLayout,
  parts: readonly PlacedPart[],
  count: number,
  signal: AbortSignal | undefined,
): Promise<{ fine?: Int32Array; coarse?: Int32Array }> {
  const fine = new Int32Array(count)
  if (layout.labelBytes === 0) {
    if (parts.some(({ labels }) => labels === undefined)) return {}
    for (const part of parts) {
      const bytes = await readWhole(set, part.labels!, signal)
      if (bytes.length !== part.count) {
        throw new KeeplightError(
          'input',
          `${set.root}: ${set.names[part.labels!]} has ${bytes.length} labels, expected ` +
            `${part.count} as ${set.names[part.file]} has images. Get both again.`,
        )
      }
      for (const [i, byte] of bytes.entries()) {
        fine[part.first + i] = checkLabel(set, part.labels!, i, byte - 1, layout.classCount)
      }
    }
    return { fine }
  }
  const coarse = layout.labelBytes === 2 ? new Int32Array(count) : undefined
  for await (const { part, index, record } of records(set, layout, parts, signal)) {
    const at = index - part.first
    const label = record[layout.labelBytes - 1]!
    fine[index] = checkLabel(set, part.file, at, label, layout.classCount)
    if (coarse) coarse[index] = checkLabel(set, part.file, at, record[0]!, coarseClassCount)
  }
  return { fine, coarse }
}

function checkLabel(
  set: FileSet,
  file: number,
  record: number,
  label: number,
  classes: number,
): number {
  if (label >= 0 && label < classes) return label
  throw new KeeplightError(
    'input',
    `${set.root}: image ${record} of ${set.names[file]} has label ${label}, expected 0 to ` +
      `${classes - 1}. The file is damaged or of another kind; get it again.`,
  )
}

/** A line a class; undefined when there is no such file. */
async function readNames(
  set: FileSet,
  file: number | undefined,
  count: number,
  signal: AbortSignal | undefined,
): Promise<string[] | undefined> {
  if (file === undefined) return undefined
  const text = new TextDecoder().decode(await readWhole(set, file, signal))
  const names = text.split(/\r?\n/).filter((line) => line.trim() !== '')
  if (names.length === count && new Set(names).size === count)
    return names.map((name) => name.trim())
  throw new KeeplightError(
    'input',
    `${set.root}: ${set.names[file]} has ${names.length} lines, expected the ${count} different ` +
      'names of the classes, one a line. Get it again, or remove it.',
  )
}

async function readWhole(
  set: FileSet,
  file: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const size = set.sizes[file]!
  if (size > maximumTextBytes) {
    throw new KeeplightError(
      'input',
      `${set.root}: ${set.names[file]} has ${size} bytes, expected at most ${maximumTextBytes}.`,
    )
  }
  const bytes = new Uint8Array(size)
  let filled = 0
  for await (const { data, problem } of set.read([file], signal)) {
    if (problem !== undefined) throw damaged(set, file, problem)
    bytes.set(data, filled)
    filled += data.length
  }
  return bytes
}

function damaged(set: FileSet, file: number, problem: string): KeeplightError {
  return new KeeplightError('input', `${set.root}: ${set.names[file]}: ${problem}. Get it again.`)
}

interface BinaryRecord {
  readonly part: PlacedPart
  /** Index of the image in the collection. */
  readonly index: number
  /** Its bytes; valid until the next is asked for. */
  readonly record: Uint8Array
}

/** The records of some files, one after the other. */
async function* records(
  set: FileSet,
  layout: BinaryLayout,
  parts: readonly PlacedPart[],
  signal: AbortSignal | undefined,
): AsyncGenerator<BinaryRecord> {
  const length = recordBytes(layout)
  const partial = new Uint8Array(length)
  const byFile = new Map(parts.map((part) => [part.file, part]))
  const files = [...byFile.keys()].sort((a, b) => a - b)
  let filled = 0
  let current: number | undefined
  let index = 0
  for await (const { index: file, data, problem } of set.read(files, signal)) {
    if (problem !== undefined) throw damaged(set, file, problem)
    const part = byFile.get(file)!
    if (file !== current) {
      current = file
      filled = 0
      index = part.first
    }
    for (let at = 0; at < data.length;) {
      if (filled === 0 && data.length - at >= length) {
        yield { part, index: index++, record: data.subarray(at, at + length) }
        at += length
        continue
      }
      const taken = data.subarray(at, at + length - filled)
      partial.set(taken, filled)
      filled += taken.length
      at += taken.length
      if (filled < length) continue
      filled = 0
      yield { part, index: index++, record: partial }
    }
  }
}

async function* readRecords(
  set: FileSet,
  layout: BinaryLayout,
  parts: readonly PlacedPart[],
  indices: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<{ index: number; content: ImageContent }> {
  let next = 0
  // One file at a time, in the order of the collection, which may not be the archive's.
  for (const part of parts) {
    const end = part.first + part.count
    if (next >= indices.length || indices[next]! >= end) continue
    for await (const { index, record } of records(set, layout, [part], signal)) {
      if (index !== indices[next]) continue
      next++
      yield {
        index,
        content: { pixels: pixelsOfPlanes(record.subarray(layout.labelBytes), layout) },
      }
      if (next >= indices.length || indices[next]! >= end) break
    }
  }
}
