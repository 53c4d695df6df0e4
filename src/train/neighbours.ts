import type { Device } from '../runtime/device.ts'
import { nearestRows } from '../runtime/ops/distance.ts'
import type { Tensor } from '../runtime/tensor.ts'

/** Differences that one dispatch computes: a second or so on a CPU, milliseconds on a GPU. */
const WORK = 2 ** 33
/** Rows of a dispatch at least: fewer leave a GPU idle. A multiple of 64 rows starts at an aligned byte. */
const LEAST_ROWS = { software: 64, hardware: 1024 }

/** Of the memory that a search may take, what each of two parts is: rows, and those they are compared with. */
const PART_SHARE = 1 / 4

/** Lists of the nearest other rows of every row, ascending, ties by number. */
export interface NearestLists {
  /** Rows found for each. */
  readonly k: number
  /** [count, k] row numbers; 2³² − 1 where none is left that is finite. */
  readonly nearest: Uint32Array<ArrayBuffer>
  /** [count, k] squared Euclidean distances; 3.4e38 there. */
  readonly squared: Float32Array<ArrayBuffer>
}

export interface NearestListsOptions {
  readonly count: number
  readonly dimension: number
  /** 1 to count − 1, and to `MAX_NEAREST`. */
  readonly k: number
  /** Bytes of data on the GPU at most; more is searched part by part, to the same result. Default all. */
  readonly memory?: number
}

/** Consecutive rows of the data. */
interface Part {
  readonly first: number
  readonly rows: number
}

/**
 * The k nearest other rows of every row, computed on the GPU in blocks, without storing the N×N matrix.
 *
 * @param data [count, dimension]
 */
export async function nearestLists(
  device: Device,
  data: Float32Array,
  { count, dimension, k, memory = Infinity }: NearestListsOptions,
): Promise<NearestLists> {
  const lists = new Lists(count, k)
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
          lists.take(part.first + start, among.first, most, found, distances)
          for (const tensor of [x, nearest, squared]) tensor.dispose()
        }
        if (!resident && among !== part) others[0]!.dispose()
      }
      if (!resident) own.dispose()
    }
  } finally {
    held.forEach((tensor) => tensor.dispose())
  }
  return lists
}

/**
 * The nearest other rows of every row by Euclidean distance, which for normalised rows is the order of
 * their cosines.
 *
 * @param data [count, dimension]
 * @returns [count, neighbours] row numbers, nearest first, ties by number
 */
export async function nearestNeighbours(
  device: Device,
  data: Float32Array,
  { neighbours, ...options }: Omit<NearestListsOptions, 'k'> & { readonly neighbours: number },
): Promise<Uint32Array<ArrayBuffer>> {
  const { count } = options
  // A collection smaller than the wanted neighbourhood repeats what there is.
  const k = Math.min(neighbours, count - 1)
  if (k === 0) return new Uint32Array(count * neighbours)
  const { nearest } = await nearestLists(device, data, { ...options, k })
  return Uint32Array.from({ length: count * neighbours }, (_, at) => {
    const row = Math.floor(at / neighbours)
    const index = nearest[row * k + ((at % neighbours) % k)]!
    // A row that is not finite has no neighbours but itself.
    return index < count ? index : row
  })
}

const partsOf = (count: number, wide: number): Part[] =>
  Array.from({ length: Math.ceil(count / wide) }, (_, i) => {
    return { first: i * wide, rows: Math.min(wide, count - i * wide) }
  })

/** What a search gives where it finds no more rows. */
const NONE = 0xffffffff
const FAR = 3.4e38

/** The nearest rows that were found so far. */
class Lists implements NearestLists {
  readonly k: number
  readonly nearest: Uint32Array<ArrayBuffer>
  readonly squared: Float32Array<ArrayBuffer>

  constructor(count: number, k: number) {
    this.k = k
    this.nearest = new Uint32Array(count * k).fill(NONE)
    this.squared = new Float32Array(count * k).fill(FAR)
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
    const { k } = this
    for (let row = 0; row * width < found.length; row++) {
      const at = (start + row) * k
      const old = this.nearest.slice(at, at + k)
      const oldSquared = this.squared.slice(at, at + k)
      for (let to = 0, a = 0, b = 0; to < k; to++) {
        const index = b < width ? found[row * width + b]! : NONE
        const takesOld =
          index === NONE || (old[a]! !== NONE && oldSquared[a]! <= distances[row * width + b]!)
        this.nearest[at + to] = takesOld ? old[a]! : first + index
        this.squared[at + to] = takesOld ? oldSquared[a]! : distances[row * width + b]!
        if (takesOld) a++
        else b++
      }
    }
  }
}
