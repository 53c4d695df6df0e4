import { drawView } from '../data/augment.ts'
import { augmentViews, ViewBatch } from '../data/gpuAugment.ts'
import type { ViewPicture } from '../data/viewPicture.ts'
import { placeRowsKernel } from '../kernels/placeRows.ts'
import type { VisionModel } from '../model/model.ts'
import { classRowsOf } from '../model/vit/vit.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { l2Normalize } from '../runtime/ops/l2Normalize.ts'
import { record, type Plan } from '../runtime/plan.ts'
import type { Tensor } from '../runtime/tensor.ts'
import type { StoreChunk } from './featureStore.ts'

/** An encoder, and the pictures whose views go through it. */
export interface OnlineEncoder {
  readonly model: VisionModel
  /**
   * Every image's picture, as `viewPicture` makes it with the model's `preprocess`, in the order of the
   * features; called for every pass, so that pictures need not stay in memory.
   */
  readonly pictures: () => Iterable<ViewPicture> | AsyncIterable<ViewPicture>
}

/** Views that go through the encoder together. */
const BATCH = 32
/** Submits that the GPU may have before it: one that it computes, one that is ready. */
const AHEAD = 2
/** A place that no table has. */
const NOWHERE = 0xffffffff

/** Where the features of views go. */
export interface ViewTarget {
  /** N */
  readonly count: number
  /** D, of all encoders together. */
  readonly dimension: number
  /** Parts of the table [2N, D]: row v·N + i is view v of image i. */
  readonly chunks: readonly StoreChunk[]
  /** Whether a whole row is brought to length 1. Of several encoders, each one's part always is. */
  readonly normalize: boolean
}

type Inputs = {
  readonly pixels: Tensor<'u8'>
  readonly weights: Tensor<'f32'>
  readonly places: Tensor<'u32'>
}

/**
 * Embeds two fresh views of every image into a table on the GPU: cut, uploaded, blurred, normalised,
 * encoded and put in place by one recorded plan for each encoder, with no readback.
 *
 * View v of image i in pass e follows from `drawView(seed, stream, 2e + v)`, with the picture's stream,
 * and from nothing else. A pass takes memory for one batch.
 */
export class ViewEmbedder {
  readonly #device: Device
  readonly #target: ViewTarget
  readonly #encoders: readonly OnlineEncoder[]
  readonly #lanes: readonly Lane[]

  private constructor(
    device: Device,
    target: ViewTarget,
    encoders: readonly OnlineEncoder[],
    lanes: readonly Lane[],
  ) {
    this.#device = device
    this.#target = target
    this.#encoders = encoders
    this.#lanes = lanes
  }

  static async open(
    device: Device,
    target: ViewTarget,
    encoders: readonly OnlineEncoder[],
  ): Promise<ViewEmbedder> {
    const lanes: Lane[] = []
    const share = encoders.length > 1 ? 1 / Math.sqrt(encoders.length) : 1
    const scale = target.normalize ? share : 1
    const unit = target.normalize || encoders.length > 1
    let column = 0
    for (const { model } of encoders) {
      lanes.push(await Lane.record(device, model, target, { column, unit, scale }))
      column += model.dimension
    }
    return new ViewEmbedder(device, target, encoders, lanes)
  }

  /**
   * Enqueues one pass over all images; resolves when the last batch is enqueued.
   *
   * @param onProgress told the views that are enqueued, of all encoders
   * @throws KeeplightError `input` when there are more or fewer pictures than features, `aborted`
   */
  async embed(
    seed: number,
    pass: number,
    {
      onProgress,
      signal,
    }: { onProgress?: (done: number) => void; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const { count } = this.#target
    let done = 0
    for (const [i, { pictures }] of this.#encoders.entries()) {
      const lane = this.#lanes[i]!
      const send = async (): Promise<void> => {
        if (signal?.aborted) throw new KeeplightError('aborted', 'online views: stopped')
        done += lane.run()
        await this.#device.ahead(AHEAD)
        onProgress?.(done)
      }
      let image = 0
      for await (const picture of pictures()) {
        for (const view of image < count ? [0, 1] : []) {
          lane.add(picture, drawView(seed, picture.stream, 2 * pass + view), view * count + image)
          if (lane.full) await send()
        }
        image++
      }
      if (image !== count) {
        throw new KeeplightError(
          'input',
          `online views: ${image} pictures for ${count} features; give each image's, in their order`,
        )
      }
      if (lane.filled > 0) await send()
    }
  }

  dispose(): void {
    this.#lanes.forEach((lane) => lane.dispose())
  }
}

/** One encoder's plan, and the batch that is filled for it. */
class Lane {
  readonly #plan: Plan<Inputs, void>
  readonly #spans: Tensor<'u32'>
  readonly #batch: ViewBatch
  readonly #places = new Uint32Array(BATCH)

  private constructor(plan: Plan<Inputs, void>, spans: Tensor<'u32'>, batch: ViewBatch) {
    this.#plan = plan
    this.#spans = spans
    this.#batch = batch
  }

  static async record(
    device: Device,
    { encoder, preprocess, dimension: columns }: VisionModel,
    { dimension: width, chunks }: ViewTarget,
    { column, unit, scale }: { column: number; unit: boolean; scale: number },
  ): Promise<Lane> {
    const { size } = preprocess
    const batch = new ViewBatch(preprocess, BATCH)
    const tokens = encoder.preparePositions(size, size).shape[0]!
    const spans = device.constant(batch.spans, [BATCH, size, 2])
    const inputs = {
      pixels: device.tensor(batch.pixels, [BATCH, size, size, 3]),
      weights: device.tensor(batch.weights, [BATCH, size, batch.stride]),
      places: device.tensor(new Uint32Array(BATCH), [BATCH]),
    }
    const plan = await record(device, inputs, ({ pixels, weights, places }) => {
      const classRows = device.tensor(classRowsOf(BATCH, tokens), [BATCH])
      const views = augmentViews(pixels, { spans, weights }, preprocess)
      const { feature } = encoder.forward(views, classRows)
      const x = unit ? l2Normalize(feature) : feature
      for (const { tensor: out, firstRow, rows: held } of chunks) {
        const params = { rows: BATCH, columns, width, column, firstRow, held, scale }
        device.dispatch(placeRowsKernel, { x, places, out }, params)
      }
    })
    return new Lane(plan, spans, batch)
  }

  get full(): boolean {
    return this.#batch.full
  }

  get filled(): number {
    return this.#batch.filled
  }

  add(picture: ViewPicture, draw: ReturnType<typeof drawView>, place: number): void {
    this.#places[this.#batch.filled] = place
    this.#batch.add(picture, draw)
  }

  /** Enqueues what was added, and gives its number. */
  run(): number {
    const { filled, pixels, weights } = this.#batch
    this.#places.fill(NOWHERE, filled)
    this.#plan.run({ pixels, weights, places: this.#places })
    this.#batch.clear()
    return filled
  }

  dispose(): void {
    this.#plan.dispose()
    Object.values(this.#plan.inputs).forEach((tensor) => tensor.dispose())
    this.#spans.dispose()
  }
}
