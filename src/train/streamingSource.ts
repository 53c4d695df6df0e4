import { ringBatchKernel } from '../kernels/ringBatch.ts'
import { drawBatch } from '../kernels/sampleBatch.ts'
import type { Device } from '../runtime/device.ts'
import { keep, type Tensor } from '../runtime/tensor.ts'
import type { Batch } from './adapter.ts'
import { stepsPerEpoch, type BatchSource, type SamplingOptions } from './batchSource.ts'
import type { HostRows } from './hostRows.ts'

/** Of the rows on the GPU: a few steps' batches, so that the losses aren't read after each. */
const RING_BYTES = 64 * 2 ** 20
const MOST_STEPS = 64

/** The rows of some steps, drawn and copied on the host. */
interface Block {
  readonly first: number
  readonly steps: number
  readonly seeds: readonly number[]
  /** [steps, R, 2B, D] */
  readonly rows: Float32Array<ArrayBuffer>
  /** [steps, R, 2B] */
  readonly images: Uint32Array<ArrayBuffer>
}

/**
 * Batches from features that stay on the host, where not all of them fit the GPU. The rows of the coming
 * steps are drawn on the host by the counters that `sampleBatchKernel` draws by, and uploaded in blocks;
 * the next block is filled while the GPU works on the last. The batches are those of a `ResidentSource`,
 * bit for bit; noise is added on the GPU.
 *
 * Memory: two blocks of at most 64 MiB (or of one step's rows, where these are more) on either side.
 */
export class StreamingSource implements BatchSource {
  readonly count: number
  readonly dimension: number
  readonly batch: number
  readonly stepsPerEpoch: number
  readonly #device: Device
  readonly #rows: HostRows
  readonly #options: SamplingOptions
  readonly #neighbours: Uint32Array
  /** Steps that a block has room for, with R = `runs`. */
  readonly #room: number
  /** [room, runs, 2B, D] */
  readonly #ring: Tensor<'f32'>
  /** [room, runs, 2B] */
  readonly #drawn: Tensor<'u32'>
  /** [1]: step of the ring's first rows. */
  readonly #base: Tensor<'u32'>
  /** What the ring holds, and since which recovery. */
  #held: (Pick<Block, 'first' | 'steps' | 'seeds'> & { readonly generation: number }) | undefined
  #next: Promise<Block> | undefined
  #nextKey = ''
  #disposed = false

  /** @param runs R at most: runs that train side by side */
  constructor(
    device: Device,
    rows: HostRows,
    options: SamplingOptions & { readonly runs: number },
  ) {
    const { batch, pairs, neighbours, dropLast, runs } = options
    const { count, dimension } = rows
    this.count = count
    this.dimension = dimension
    this.batch = batch
    this.stepsPerEpoch = stepsPerEpoch(count, batch, dropLast)
    this.#device = device
    this.#rows = rows
    this.#options = options
    this.#neighbours = pairs > 0 && neighbours ? neighbours : new Uint32Array()
    const bytes = runs * 2 * batch * dimension * 4
    const most = Math.min(RING_BYTES, device.limits.maxStorageBufferBindingSize)
    this.#room = Math.max(1, Math.min(MOST_STEPS, Math.floor(most / bytes)))
    const shape = [this.#room, runs, 2 * batch]
    this.#ring = keep(
      device.tensor(new Float32Array((this.#room * bytes) / 4), [...shape, dimension]),
    )
    this.#drawn = keep(device.tensor(new Uint32Array(this.#room * runs * 2 * batch), shape))
    this.#base = keep(device.tensor(new Uint32Array(1), [1]))
  }

  enqueue(step: Tensor<'u32'>): Batch {
    const { batch, dimension } = this
    const [runs] = step.shape as [number, number]
    const features = this.#device.empty([runs, 2 * batch, dimension])
    const images = this.#device.empty([runs, 2 * batch], 'u32')
    const noise = this.#options.noise * this.#rows.deviation
    const ring = { ring: this.#ring, drawn: this.#drawn, base: this.#base }
    this.#device.dispatch(
      ringBatchKernel,
      { ...ring, state: step, out: features, images },
      { runs, batch, dimension, noise },
    )
    return { features, images, step }
  }

  async prepare(first: number, steps: number, seeds: readonly number[]): Promise<number> {
    const { generation } = this.#device
    const held = this.#held
    const end = held ? held.first + held.steps : 0
    const same = held?.generation === generation && held.seeds.join() === seeds.join()
    if (same && held.first <= first && first < end) return Math.min(steps, end - first)
    const block = await this.#block(first, seeds)
    if (generation !== (held?.generation ?? generation)) this.#restore()
    // What is written now lands behind the steps that are enqueued.
    writeFirst(this.#ring, block.rows)
    writeFirst(this.#drawn, block.images)
    this.#base.write(Uint32Array.of(first))
    this.#held = { first, steps: block.steps, seeds, generation }
    this.#ahead(first + block.steps, seeds)
    return Math.min(steps, block.steps)
  }

  /** After a recovery: what no block fills must be there too. */
  #restore(): void {
    this.#ring.write(new Float32Array(this.#ring.size))
    this.#drawn.write(new Uint32Array(this.#drawn.size))
  }

  /** The block from a step on: the one that was filled ahead, if it is that. */
  async #block(first: number, seeds: readonly number[]): Promise<Block> {
    if (this.#nextKey !== keyOf(first, seeds)) this.#ahead(first, seeds)
    return this.#next!
  }

  #ahead(first: number, seeds: readonly number[]): void {
    this.#nextKey = keyOf(first, seeds)
    this.#next = this.#fill(first, seeds)
    // Asked for or not, it is looked at then.
    this.#next.catch(() => {})
  }

  /** Fills a block step by step, with a turn for others between two. */
  async #fill(first: number, seeds: readonly number[]): Promise<Block> {
    const { batch, count, dimension } = this
    const { views } = this.#rows
    const key = this.#nextKey
    const each = 2 * batch
    const runs = seeds.length
    // A smaller group of runs has room for more steps.
    const steps = Math.floor((this.#room * this.#drawn.shape[1]!) / runs)
    const rows = new Float32Array(steps * runs * each * dimension)
    const images = new Uint32Array(steps * runs * each)
    const settings = {
      ...{ batch, count, views, stepsPerEpoch: this.stepsPerEpoch, neighbours: this.#neighbours },
    }
    let at = 0
    for (let step = first; step < first + steps; step++) {
      await new Promise((resolve) => setTimeout(resolve, 0))
      if (this.#disposed || this.#nextKey !== key) break
      for (const seed of seeds) {
        for (const { image, view } of drawBatch(step, seed, settings)) {
          images[at] = image
          this.#rows.copy(view * count + image, rows, at * dimension)
          at++
        }
      }
    }
    return { first, steps, seeds, rows, images }
  }

  dispose(): void {
    this.#disposed = true
    for (const tensor of [this.#ring, this.#drawn, this.#base]) tensor.dispose()
  }
}

const keyOf = (first: number, seeds: readonly number[]): string => `${first}: ${seeds.join()}`

/** Writes the first elements of a tensor. */
function writeFirst<A extends Float32Array | Uint32Array>(tensor: Tensor, data: A): void {
  const flat = tensor.view([tensor.size])
  const part = flat.rows(0, data.length)
  part.write(data)
  part.dispose()
  flat.dispose()
}
