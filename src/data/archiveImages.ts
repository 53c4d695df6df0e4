import { KeeplightError } from '../runtime/errors.ts'
import { labelsOf, classesOf, withoutCommonTop } from './classes.ts'
import type { ImageCollection, ImageContent } from './collection.ts'
import { everyIndex } from './collection.ts'
import { isHidden } from './entryName.ts'
import type { FilePart, FileSet } from './fileSet.ts'
import { baseName, imageExtensions, isImageName } from './imageNames.ts'
import { maximumFileBytes } from './limits.ts'
import { isOtherSynset, synsetOf, type Synsets } from './synsets.ts'

/**
 * The images of an archive, in its order. Their classes are the first-level folders, as in a folder,
 * after folders that all images lie in.
 *
 * @param synsets when given, images of these alone, which are then the classes
 * @throws KeeplightError `input` without images
 */
export function imagesOf(set: FileSet, synsets?: Synsets): ImageCollection {
  const chosen: number[] = []
  let ignored = 0
  for (const [index, name] of set.names.entries()) {
    if (isHidden(name)) continue
    if (!isImageName(baseName(name))) ignored++
    else if (!synsets || synsetOf(name, synsets)) chosen.push(index)
  }
  const files = chosen.map((index) => set.names[index]!)
  if (files.length === 0) throw noImages(set, ignored, synsets)
  return {
    root: set.root,
    kind: set.kind,
    files,
    ignored,
    ...(synsets
      ? synsetLabels(set.root, files, synsets)
      : labelsOf(classesOf(withoutCommonTop(files)))),
    holder: (index) => ({ path: set.holder(chosen[index]!), own: false }),
    read: (indices, signal) => readImages(set, chosen, indices ?? everyIndex({ files }), signal),
  }
}

function noImages(set: FileSet, ignored: number, synsets?: Synsets): KeeplightError {
  const others = ignored > 0 ? ` (${ignored} other files were found)` : ''
  return new KeeplightError(
    'input',
    synsets
      ? `${set.root}: no images of these synsets here${others}; expected folders named like ` +
          `${[...synsets.keys()][0]}. Give ImageNet's folder of such folders.`
      : `${set.root}: no images in this archive${others}; expected files ending in ` +
          `${imageExtensions.join(', ')}, or the binary files of CIFAR or STL-10. ` +
          'Archives within archives are not opened.',
  )
}

/**
 * Labels by the synsets' folders.
 *
 * @throws KeeplightError `input` naming the synsets that have no image
 */
export function synsetLabels(
  root: string,
  files: readonly string[],
  synsets: Synsets,
): { labels: Int32Array; classes: readonly string[] } {
  const found = files.map((path) => synsetOf(path, synsets)!)
  const present = new Set(found)
  const absent = [...synsets.keys()].filter((synset) => !present.has(synset))
  if (absent.length > 0) {
    throw new KeeplightError(
      'input',
      `${root}: has no images of ${absent.length} of ${synsets.size} synsets: ` +
        `${absent.slice(0, 5).join(', ')}${absent.length > 5 ? ', …' : ''}. Add their folders, or ` +
        'shorten the list.',
    )
  }
  const order = new Map([...synsets.keys()].map((synset, index) => [synset, index]))
  return {
    labels: Int32Array.from(found, (synset) => order.get(synset)!),
    classes: [...synsets.values()],
  }
}

/** Whether a folder's images can be left out without looking. */
export function passesOver(folder: string, synsets: Synsets | undefined): boolean {
  return synsets !== undefined && isOtherSynset(folder, synsets)
}

async function* readImages(
  set: FileSet,
  chosen: readonly number[],
  indices: readonly number[],
  signal: AbortSignal | undefined,
): AsyncGenerator<{ index: number; content: ImageContent }> {
  const places = new Map(indices.map((index) => [chosen[index]!, index]))
  // What is too large is told of in its turn, and never read.
  const small = [...places.keys()].filter((file) => set.sizes[file]! <= maximumFileBytes)
  const large = [...places.keys()].filter((file) => set.sizes[file]! > maximumFileBytes)
  const tooLarge = function* (before: number) {
    for (; large.length > 0 && large[0]! < before; large.shift()) {
      const unreadable = `the file has ${set.sizes[large[0]!]} bytes; at most ${maximumFileBytes} are read`
      yield { index: places.get(large[0]!)!, content: { unreadable } }
    }
  }
  let bytes: Uint8Array<ArrayBuffer> | undefined
  let filled = 0
  for await (const part of set.read(small, signal)) {
    const index = places.get(part.index)!
    if (!bytes) yield* tooLarge(part.index)
    bytes ??= new Uint8Array(set.sizes[part.index]!)
    if (part.problem === undefined) bytes.set(part.data, filled)
    filled += part.data.length
    if (!part.last) continue
    const content = contentOf(part, bytes)
    bytes = undefined
    filled = 0
    yield { index, content }
  }
  yield* tooLarge(Infinity)
}

function contentOf({ problem }: FilePart, bytes: Uint8Array<ArrayBuffer>): ImageContent {
  if (problem !== undefined) return { unreadable: problem }
  return bytes.length === 0 ? { unreadable: 'the file is empty' } : { bytes }
}
