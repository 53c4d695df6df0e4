import type { Device } from '../runtime/device.ts'
import { record, type Plan } from '../runtime/plan.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { normalizePixels, type Pixels, type PreprocessConfig } from './preprocess.ts'
import { classRowsOf, type VisionTransformer } from './vit/vit.ts'

type EmbedPlan = Plan<{ pixels: Tensor<'f32'>; classRows: Tensor<'u32'> }, Tensor<'f32'>>

/**
 * Batches whose features are not read yet, at most: the next one is prepared and written while the GPU
 * works on the last. More gain nothing, as the GPU has one queue.
 */
export const IN_FLIGHT = 2

/** The recorded plans of one encoder, by batch and input size, and the order in which they run. */
export class EmbedPlans {
  readonly #device: Device
  readonly #encoder: VisionTransformer
  readonly #plans = new Map<string, Promise<EmbedPlan>>()
  /** Batches are enqueued one after the other: a plan has one set of buffers. */
  #turn: Promise<unknown> = Promise.resolve()
  /** Reads under way, oldest first; these never reject. */
  readonly #reads: Promise<unknown>[] = []

  constructor(device: Device, encoder: VisionTransformer) {
    this.#device = device
    this.#encoder = encoder
  }

  /**
   * Features of one batch, in one submit.
   *
   * @param pictures B prepared pictures, or their bytes: S×S RGB each, S = `preprocess.size`
   * @returns [B, D]
   */
  run(
    pictures: readonly Pixels[] | Uint8Array,
    preprocess: PreprocessConfig,
  ): Promise<Float32Array<ArrayBuffer>> {
    const enqueued = this.#turn.then(() => this.#enqueue(pictures, preprocess))
    this.#turn = enqueued.catch(() => {})
    return enqueued.then(async ({ rows, images, batch }) => {
      const all = await rows
      return images === batch ? all : all.slice(0, (all.length / batch) * images)
    })
  }

  /** The rows come in an object, since an async function waits for a promise that it returns. */
  async #enqueue(
    pictures: readonly Pixels[] | Uint8Array,
    preprocess: PreprocessConfig,
  ): Promise<{ rows: Promise<Float32Array<ArrayBuffer>>; images: number; batch: number }> {
    const { size } = preprocess
    const values = normalizePixels(pictures, preprocess)
    const images = values.length / (3 * size * size)
    // Padded to a power of two, so that few plans serve every count.
    const batch = 2 ** Math.ceil(Math.log2(images))
    const plan = await this.#plan(batch, size)
    while (this.#reads.length >= IN_FLIGHT) await this.#reads.shift()
    // What is written now lands behind the copy that the last read enqueued.
    plan.run({ pixels: images === batch ? values : padded(values, batch * 3 * size * size) })
    const rows = plan.outputs.read()
    this.#reads.push(rows.catch(() => {}))
    return { rows, images, batch }
  }

  #plan(batch: number, size: number): Promise<EmbedPlan> {
    const key = `${batch} × ${size}`
    let plan = this.#plans.get(key)
    if (!plan) {
      const tokens = this.#encoder.preparePositions(size, size).shape[0]!
      const shape = [batch, 3, size, size]
      const pixels = this.#device.tensor(new Float32Array(batch * 3 * size * size), shape)
      const classRows = this.#device.constant(classRowsOf(batch, tokens), [batch])
      plan = record(this.#device, { pixels, classRows }, (inputs) => {
        return this.#encoder.forward(inputs.pixels, inputs.classRows).feature
      })
      this.#plans.set(key, plan)
      // A plan that a lost device kept from being recorded is recorded at the next call.
      plan.catch(() => this.#plans.delete(key))
    }
    return plan
  }

  /** Frees the plans once what was enqueued has been read. */
  async dispose(): Promise<void> {
    await this.#turn
    await Promise.all(this.#reads)
    for (const recorded of this.#plans.values()) {
      const plan = await recorded
      plan.dispose()
      Object.values(plan.inputs).forEach((tensor) => tensor.dispose())
    }
    this.#plans.clear()
  }
}

function padded(values: Float32Array, size: number): Float32Array<ArrayBuffer> {
  const all = new Float32Array(size)
  all.set(values)
  return all
}
