import type { Appearance } from './appearance.ts'
import type { DisjointSets } from './disjointSets.ts'
import {
  colourDifference,
  correlation,
  printSigns,
  signWords,
  symmetries,
  turnedCoefficients,
  type Symmetry,
} from './imagePrint.ts'

/**
 * Correlation of prints from which two pictures are one. Re-encoded, resized, mirrored and turned copies
 * of photographs reach 0.91 and more, of 32×32 pictures 0.86 and more (JPEG at quality 30, or halved);
 * different pictures stay below 0.7, frames of a stereo pair at 0.56.
 */
const LEAST_CORRELATION = 0.85
/** Levels that the colours of copies may differ by in the mean; a black-and-white copy is no copy. */
const MOST_COLOUR = 10
/** Widths over heights may differ by this factor: a small picture's size is rounded. */
const MOST_ASPECT = 1.06
/** Signs that may differ before the correlation is looked at; at 0.85 a sixth of them does. */
const MOST_SIGNS = 80
/** Bits of a key under which candidates are looked up, and how many such keys a print has. */
const KEY_BITS = 16
const KEYS = 15

export interface Match {
  /** What was done to the first picture to make the second. */
  readonly symmetry: Symmetry
  /** Correlation of their prints, 1 for the same pixels. */
  readonly similarity: number
}

/** Whether one picture is a copy of another in another encoding, size or orientation. */
export function matchPictures(a: Appearance, b: Appearance): Match | undefined {
  const other = turnedCoefficients(b.print, symmetries[0])
  let best: Match | undefined
  for (const symmetry of symmetries) {
    if (!sameShape(a, b, symmetry)) continue
    const similarity = correlation(turnedCoefficients(a.print, symmetry), other)
    if (similarity < Math.max(LEAST_CORRELATION, best?.similarity ?? 0)) continue
    if (colourDifference(b.print, a.print, symmetry) <= MOST_COLOUR) best = { symmetry, similarity }
  }
  return best
}

function sameShape(a: Appearance, b: Appearance, { transposed }: Symmetry): boolean {
  const [width, height] = transposed ? [a.height, a.width] : [a.width, a.height]
  const ratio = (width / height) * (b.height / b.width)
  return ratio < MOST_ASPECT && ratio > 1 / MOST_ASPECT
}

/**
 * Joins pictures that are one in another encoding, size or orientation, without comparing all with all: pictures whose prints share 16 neighbouring signs, in one of the eight orientations, are
 * compared. A copy at a correlation of 0.97 shares one of the 15 keys with 99 in 100.
 *
 * @param sets of as many members as there are looks
 */
export function joinSamePictures(looks: readonly Appearance[], sets: DisjointSets): void {
  const count = looks.length
  const turned = symmetries.map(() => new Uint32Array(count * signWords))
  const flat = new Uint8Array(count)
  looks.forEach(({ print }, i) => {
    symmetries.forEach((symmetry, s) => {
      const coefficients = turnedCoefficients(print, symmetry)
      if (s === 0) flat[i] = coefficients.some((value) => value !== 0) ? 0 : 1
      turned[s].set(printSigns(coefficients), i * signWords)
    })
  })
  for (let key = 0; key < KEYS; key++) {
    const buckets = bucketsOf(turned[0], flat, key)
    for (let j = 0; j < count; j++) {
      if (flat[j]) continue
      for (const signs of turned) {
        for (const i of buckets.at(keyOf(signs, j, key))) {
          // Ascending, and each pair is looked at from its second picture alone.
          if (i >= j) break
          if (!fewDiffer(turned[0], i, signs, j) || sets.find(i) === sets.find(j)) continue
          if (matchPictures(looks[i], looks[j])) sets.union(i, j)
        }
      }
    }
  }
}

function keyOf(signs: Uint32Array, image: number, key: number): number {
  const word = signs[image * signWords + (key >>> 1)]
  return (word >>> ((key & 1) * KEY_BITS)) & (2 ** KEY_BITS - 1)
}

/** The images of each key, ascending. */
function bucketsOf(
  signs: Uint32Array,
  flat: Uint8Array,
  key: number,
): { at(value: number): Uint32Array } {
  const starts = new Uint32Array(2 ** KEY_BITS + 1)
  for (let i = 0; i < flat.length; i++) if (!flat[i]) starts[keyOf(signs, i, key) + 1]++
  for (let value = 0; value < 2 ** KEY_BITS; value++) starts[value + 1] += starts[value]
  const next = starts.slice()
  const images = new Uint32Array(flat.length)
  for (let i = 0; i < flat.length; i++) if (!flat[i]) images[next[keyOf(signs, i, key)]++] = i
  return { at: (value) => images.subarray(starts[value], starts[value + 1]) }
}

function fewDiffer(a: Uint32Array, i: number, b: Uint32Array, j: number): boolean {
  let differing = 0
  for (let word = 0; word < signWords; word++) {
    differing += bitCount(a[i * signWords + word] ^ b[j * signWords + word])
  }
  return differing <= MOST_SIGNS
}

function bitCount(bits: number): number {
  bits -= (bits >>> 1) & 0x55555555
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
