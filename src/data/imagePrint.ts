import type { Pixels } from '../model/preprocess.ts'

/**
 * A print of a picture that survives another encoding and another size, and from which the print of the
 * mirrored or turned picture follows: 16×16 DCT-II coefficients of the luma of the picture squeezed to
 * 32×32, the mean left out. A mirror image changes the signs of odd frequencies, a transposition swaps
 * the two frequencies, so one print stands for all eight symmetries (as PDQ's dihedral hashes do).
 *
 * Each coefficient is multiplied by its frequency, since amplitudes in photographs fall with it: without
 * that the two or three lowest would decide alone, and any two sunsets were the same. The cosine between
 * two prints is then small for any two different pictures. A grid of 4×4 colours beside it tells a
 * picture from its black-and-white copy.
 */

/** Edge of the block of coefficients. */
const BLOCK = 16
/** Edge of the picture that they are made of. */
export const printEdge = 32
const GRID = 4
const coefficientBytes = BLOCK * BLOCK
/** Bytes of a print: coefficients as int8, row by row, then the colours. */
export const printBytes = coefficientBytes + GRID * GRID * 3
/** Deviation of the luma in levels under which a picture has nothing to compare. */
const FLAT = 1

const cosines = Float64Array.from({ length: BLOCK * printEdge }, (_, i) => {
  const frequency = Math.floor(i / printEdge)
  return Math.cos((Math.PI * frequency * ((i % printEdge) + 0.5)) / printEdge)
})

/** The print of a picture that was squeezed to 32×32; all coefficients are 0 when it is flat. */
export function printOf({ data }: Pixels): Uint8Array {
  const luma = new Float64Array(printEdge * printEdge)
  for (let i = 0; i < luma.length; i++) luma[i] = lumaAt(data, i * 3)
  const print = new Uint8Array(printBytes)
  const coefficients = new Int8Array(print.buffer, 0, coefficientBytes)
  if (deviation(luma) >= FLAT) quantize(transform(luma), coefficients)
  print.set(colours(data), coefficientBytes)
  return print
}

/** Rec. 601 luma, 0 to 255, of the pixel at this byte. */
export function lumaAt(data: ArrayLike<number>, at: number): number {
  return 0.299 * data[at]! + 0.587 * data[at + 1]! + 0.114 * data[at + 2]!
}

function deviation(values: Float64Array): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
}

/** The block of lowest coefficients, each times its frequency; row v, column u. */
function transform(luma: Float64Array): Float64Array {
  const rows = new Float64Array(printEdge * BLOCK)
  for (let y = 0; y < printEdge; y++) {
    for (let u = 0; u < BLOCK; u++) {
      let sum = 0
      for (let x = 0; x < printEdge; x++)
        sum += luma[y * printEdge + x] * cosines[u * printEdge + x]
      rows[y * BLOCK + u] = sum
    }
  }
  const block = new Float64Array(coefficientBytes)
  for (let v = 0; v < BLOCK; v++) {
    for (let u = 0; u < BLOCK; u++) {
      let sum = 0
      for (let y = 0; y < printEdge; y++) sum += rows[y * BLOCK + u] * cosines[v * printEdge + y]
      // A frequency of 0 has √2 of the others' norm.
      const norm = (u === 0 ? Math.SQRT1_2 : 1) * (v === 0 ? Math.SQRT1_2 : 1)
      block[v * BLOCK + u] = sum * norm * Math.hypot(u, v)
    }
  }
  return block
}

function quantize(block: Float64Array, out: Int8Array): void {
  const largest = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  for (let i = 0; i < out.length; i++) out[i] = Math.round((block[i] / largest) * 127)
}

function colours(data: ArrayLike<number>): Uint8Array {
  const step = printEdge / GRID
  const sums = new Float64Array(GRID * GRID * 3)
  for (let i = 0; i < printEdge * printEdge; i++) {
    const y = Math.floor(i / printEdge / step)
    const cell = (y * GRID + Math.floor((i % printEdge) / step)) * 3
    for (let channel = 0; channel < 3; channel++) sums[cell + channel] += data[i * 3 + channel]!
  }
  return Uint8Array.from(sums, (sum) => Math.round(sum / step ** 2))
}

/** What a symmetry does to a picture: transposes it first, then mirrors it left to right, then upside down. */
export interface Symmetry {
  readonly name: string
  readonly transposed: boolean
  readonly mirrored: boolean
  readonly flipped: boolean
}

/** The eight symmetries of a rectangle that keep its edges upright. */
export const symmetries: readonly Symmetry[] = [
  'as it is',
  'mirrored',
  'upside down and mirrored',
  'turned by 180°',
  'turned right and mirrored',
  'turned right',
  'turned left',
  'turned left and mirrored',
].map((name, i) => ({
  name,
  mirrored: (i & 1) !== 0,
  flipped: (i & 2) !== 0,
  transposed: (i & 4) !== 0,
}))

/** A print's coefficients after a symmetry of its picture. */
export function turnedCoefficients(
  print: Uint8Array,
  { transposed, mirrored, flipped }: Symmetry,
): Int8Array {
  const given = new Int8Array(print.buffer, print.byteOffset, coefficientBytes)
  const turned = new Int8Array(coefficientBytes)
  for (let v = 0; v < BLOCK; v++) {
    for (let u = 0; u < BLOCK; u++) {
      const value = given[transposed ? u * BLOCK + v : v * BLOCK + u]
      const odd = (mirrored && u % 2 === 1) !== (flipped && v % 2 === 1)
      turned[v * BLOCK + u] = odd ? -value : value
    }
  }
  return turned
}

/** Cosine between two blocks of coefficients; 0 when a picture is flat. */
export function correlation(a: Int8Array, b: Int8Array): number {
  let [dot, aa, bb] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    dot += a[i] * b[i]
    aa += a[i] * a[i]
    bb += b[i] * b[i]
  }
  return aa === 0 || bb === 0 ? 0 : dot / Math.sqrt(aa * bb)
}

/** Mean difference of the colours of a picture and another one after a symmetry, in levels. */
export function colourDifference(
  a: Uint8Array,
  b: Uint8Array,
  { transposed, mirrored, flipped }: Symmetry,
): number {
  let sum = 0
  for (let y = 0; y < GRID; y++) {
    for (let x = 0; x < GRID; x++) {
      const [fromX, fromY] = [mirrored ? GRID - 1 - x : x, flipped ? GRID - 1 - y : y]
      const from = transposed ? fromX * GRID + fromY : fromY * GRID + fromX
      for (let channel = 0; channel < 3; channel++) {
        const own = a[coefficientBytes + (y * GRID + x) * 3 + channel]
        sum += Math.abs(own - b[coefficientBytes + from * 3 + channel])
      }
    }
  }
  return sum / (GRID * GRID * 3)
}

/** Words of {@link printSigns}. */
export const signWords = coefficientBytes / 32

/** The signs of the coefficients as bits, the lowest frequencies first. */
export function printSigns(coefficients: Int8Array): Uint32Array {
  const bits = new Uint32Array(signWords)
  order.forEach((place, i) => {
    if (coefficients[place] > 0) bits[i >>> 5] |= 1 << (i & 31)
  })
  return bits
}

/** Places of a block by rising frequency; the mean, which is always 0, comes last. */
const order = Array.from({ length: coefficientBytes }, (_, i) => i).sort((a, b) => {
  const frequency = (i: number): number =>
    i === 0 ? Infinity : Math.hypot(i % BLOCK, Math.floor(i / BLOCK))
  return frequency(a) - frequency(b) || a - b
})
