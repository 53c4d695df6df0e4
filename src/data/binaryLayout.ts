import { baseName } from './imageNames.ts'
import type { PlaneLayout } from './planes.ts'

/** The binary files of CIFAR-10, CIFAR-100 and STL-10, as their authors publish them. */
export interface BinaryLayout extends PlaneLayout {
  readonly kind: 'cifar-10' | 'cifar-100' | 'stl-10'
  /** Bytes before the planes of each record: the coarse and the fine label. */
  readonly labelBytes: 0 | 1 | 2
  /** Files of records, in the order of the collection. */
  readonly parts: readonly BinaryPart[]
  /** File with the names of the classes, and of the coarse ones; indices into the files. */
  readonly names: number | undefined
  readonly coarseNames: number | undefined
  readonly classCount: number
  /** Names where the file of them is absent. */
  readonly knownNames: readonly string[] | undefined
}

export interface BinaryPart {
  /** Index into the files. */
  readonly file: number
  /** What the names of its images begin with. */
  readonly stem: string
  /** File with a label byte for each image, counted from 1. */
  readonly labels: number | undefined
}

/** Classes of CIFAR-100's coarse labelling. */
export const coarseClassCount = 20

const cifarPlanes = { width: 32, height: 32, columnMajor: false } as const
const planeBytes = 3 * 32 * 32
const cifar10Names = 'airplane automobile bird cat deer dog frog horse ship truck'.split(' ')
const stl10Names = 'airplane bird car cat deer dog horse monkey ship truck'.split(' ')

/**
 * Recognises a data set by the names of its files, which lie in one folder, at any depth.
 *
 * STL-10's 100,000 unlabelled pictures take no part beside the labelled ones; their file can be asked for.
 *
 * @param only index of the one file that is asked for
 */
export function findBinaryLayout(
  names: readonly string[],
  sizes: readonly number[],
  only?: number,
): BinaryLayout | undefined {
  const known = /(^|\/)(data_batch_\d+|test_batch|train|test|(train|test|unlabeled)_X)\.bin$/
  const first = only ?? names.findIndex((name) => known.test(name))
  if (first < 0) return undefined
  const folder = names[first]!.slice(0, -baseName(names[first]!).length)
  const inFolder = new Map<string, number>()
  for (const [index, name] of names.entries()) {
    if (name === folder + baseName(name)) inFolder.set(baseName(name), index)
  }
  const find = (name: string): number | undefined => inFolder.get(name)
  const partsOf = (pattern: RegExp): BinaryPart[] => {
    const found =
      only === undefined ? [...inFolder.keys()].filter((name) => pattern.test(name)) : []
    const stems = only === undefined ? found.sort(byNumber) : [baseName(names[only]!)]
    return stems.map((name) => ({
      file: inFolder.get(name)!,
      stem: name.replace(/\.bin$/i, ''),
      labels: find(name.replace(/_X\.bin$/, '_y.bin')),
    }))
  }
  const name = baseName(names[first]!)
  if (/_X\.bin$/.test(name)) {
    const labelled = partsOf(/^(train|test)_X\.bin$/)
    const parts = labelled.length > 0 ? labelled : partsOf(/^unlabeled_X\.bin$/)
    return {
      ...{ kind: 'stl-10', width: 96, height: 96, columnMajor: true, labelBytes: 0, parts },
      ...{ names: find('class_names.txt'), coarseNames: undefined },
      ...{ classCount: 10, knownNames: stl10Names },
    }
  }
  const parts = (pattern: RegExp): BinaryPart[] =>
    partsOf(pattern).map((part) => ({ ...part, labels: undefined }))
  const isCifar100 =
    find('fine_label_names.txt') !== undefined ||
    /^(train|test)\.bin$/.test(name) ||
    (sizes[first]! % (planeBytes + 2) === 0 && sizes[first]! % (planeBytes + 1) !== 0)
  if (isCifar100) {
    // Other files are called `test.bin` too, a network's weights beside photos for one.
    const isSure = only !== undefined || find('fine_label_names.txt') !== undefined
    if (!isSure && sizes[first]! % (planeBytes + 2) !== 0) return undefined
    return {
      ...{ kind: 'cifar-100', ...cifarPlanes, labelBytes: 2, parts: parts(/^(train|test)\.bin$/) },
      ...{ names: find('fine_label_names.txt'), coarseNames: find('coarse_label_names.txt') },
      ...{ classCount: 100, knownNames: undefined },
    }
  }
  return {
    ...{ kind: 'cifar-10', ...cifarPlanes, labelBytes: 1 },
    ...{ parts: parts(/^(data_batch_\d+|test_batch)\.bin$/), names: find('batches.meta.txt') },
    ...{ coarseNames: undefined, classCount: 10, knownNames: cifar10Names },
  }
}

/** Training before test, `data_batch_2` before `data_batch_10`. */
function byNumber(a: string, b: string): number {
  const isTest = (name: string): number => Number(name.startsWith('test'))
  const number = (name: string): number => Number(/\d+/.exec(name)?.[0] ?? 0)
  return isTest(a) - isTest(b) || number(a) - number(b)
}
