import type { Device } from '../runtime/device.ts'
import { nearestRows } from '../runtime/ops/distance.ts'
import type { Tensor } from '../runtime/tensor.ts'

/** Differences that one dispatch computes: a second or so on a CPU, milliseconds on a GPU. */
const WORK = 2 ** 33
/** Rows of a dispatch at least: fewer leave a GPU idle. A multiple of 64 rows starts at an aligned byte. */
const LEAST_ROWS = { software: 64, hardware: 1024 }

/** Of the memory that a search may take, what each of two parts is: rows, and those they are compared with. */
const PART_SHARE = 1 / 4

export interface NeighboursOptions {
  readonly count: number
  readonly dimension: number
  readonly neighbours: number
  /** Bytes of data on the GPU at most; more is searched part by part, to the same result. Default all. */
  readonly memory?: number
}

/** Consecutive rows of the data. */
interface Part {
  readonly first: number
  readonly rows: number
}

/**
 * The nearest other rows of every row by Euclidean distance, which for normalised rows is the order of
 * their cosines, computed on the GPU in blocks, without storing the N×N matrix.
 *
 * @param data [count, dimension]
 * @returns [count, neighbours] row numbers, nearest first, ties by number
 */
export async function nearestNeighbours(
  device: Device,
  data: Float32Array,
  { count, dimension, neighbours, memory = Infinity }: NeighboursOptions,
): Promise<Uint32Array<ArrayBuffer>> {
  // A collection smaller than the wanted neighbourhood repeats what there is.
  const k = Math.min(neighbours, count - 1)
  const result = new Uint32Array(count * neighbours)
  if (k === 0) return result
  const upload = ({ first, rows }: Part): Tensor<'f32'> =>
    device.tensor(data.subarray(first * dimension, (first + rows) * dimension), [rows, dimension])
  const resident = data.byteLength <= memory
  // Parts whose rows and whose results fit one binding.
  const { maxStorageBufferBindingSize } = device.limits
  const bytes = resident ? Infinity : memory * PART_SHARE
  const rows = Math.floor(
    Math.min(maxStorageBufferBindingSize / Math.max(dimension, k), bytes / dimension) / 4,
  )
  const parts = partsOf(count, Math.max(64, Math.floor(rows / 64) * 64))
  const least = LEAST_ROWS[device.adapter.software ? 'software' : 'hardware']
  const block = Math.max(least, Math.floor(WORK / (count * dimension) / 64) * 64)

  const held = resident ? parts.map(upload) : []
  try {
    for (const [i, part] of parts.entries()) {
      const own = held[i] ?? upload(part)
      const lists = new NearestLists(part, k)
      // All parts at once, or one after the other.
      for (const among of resident ? [{ first: 0, rows: count }] : parts) {
        const others = resident ? held : [among === part ? own : upload(among)]
        const inside = among.first <= part.first && part.first < among.first + among.rows
        const most = Math.min(k, among.rows - (inside ? 1 : 0))
        for (let start = 0; start < part.rows && most > 0; start += block) {
          const x = own.rows(start, Math.min(block, part.rows - start))
          const self = inside ? { self: part.first - among.first + start } : {}
          const { nearest, squared } = nearestRows(x, others, { k: most, ...self })
          const [found, distances] = await Promise.all([nearest.read(), squared.read()])
          lists.take(start, among.first, most, found, distances)
          for (const tensor of [x, nearest, squared]) tensor.dispose()
        }
        if (!resident && among !== part) others[0]!.dispose()
      }
      lists.write(result, neighbours, count)
      if (!resident) own.dispose()
    }
  } finally {
    held.forEach((tensor) => tensor.dispose())
  }
  return result
}

const partsOf = (count: number, wide: number): Part[] =>
  Array.from({ length: Math.ceil(count / wide) }, (_, i) => {
    return { first: i * wide, rows: Math.min(wide, count - i * wide) }
  })

/** The nearest rows that were found so far, for the rows of one part. */
class NearestLists {
  readonly #part: Part
  readonly #k: number
  /** [rows, k], ascending; `NONE` where there are none yet. */
  readonly #nearest: Uint32Array
  readonly #squared: Float32Array

  constructor(part: Part, k: number) {
    this.#part = part
    this.#k = k
    this.#nearest = new Uint32Array(part.rows * k).fill(NONE)
    this.#squared = new Float32Array(part.rows * k).fill(Infinity)
  }

  /**
   * Takes lists in, of rows from `start` on: `found` [n, width] rows counted from `first`, ascending by
   * `distances`. What was found before has lower numbers, and so goes first where distances are equal.
   */
  take(
    start: number,
    first: number,
    width: number,
    found: Uint32Array,
    distances: Float32Array,
  ): void {
    const k = this.#k
    for (let row = 0; row * width < found.length; row++) {
      const at = (start + row) * k
      const old = this.#nearest.slice(at, at + k)
      const oldSquared = this.#squared.slice(at, at + k)
      for (let to = 0, a = 0, b = 0; to < k; to++) {
        const index = b < width ? found[row * width + b]! : NONE
        const takesOld =
          index === NONE || (old[a]! !== NONE && oldSquared[a]! <= distances[row * width + b]!)
        this.#nearest[at + to] = takesOld ? old[a]! : first + index
        this.#squared[at + to] = takesOld ? oldSquared[a]! : distances[row * width + b]!
        if (takesOld) a++
        else b++
      }
    }
  }

  /** Writes the lists of the part's rows; one that is shorter than `neighbours` is repeated. */
  write(result: Uint32Array, neighbours: number, count: number): void {
    const { first, rows } = this.#part
    for (let at = 0; at < rows * neighbours; at++) {
      const row = Math.floor(at / neighbours)
      const index = this.#nearest[row * this.#k + ((at % neighbours) % this.#k)]!
      // A row that is not finite has no neighbours but itself.
      result[first * neighbours + at] = index < count ? index : first + row
    }
  }
}

/** What a search gives where it finds no more rows. */
const NONE = 0xffffffff
