/**
 * A storage buffer that outlives its GPU device: after a recovery another buffer of the same size is
 * behind it, so that tensors and recorded commands need not know.
 */
export class DeviceBuffer {
  readonly size: number
  readonly label: string
  readonly #onDestroy: (buffer: DeviceBuffer) => void
  #gpu: GPUBuffer
  #epoch = 0

  constructor(
    gpu: GPUBuffer,
    { size, label }: { readonly size: number; readonly label: string },
    onDestroy: (buffer: DeviceBuffer) => void,
  ) {
    this.#gpu = gpu
    this.size = size
    this.label = label
    this.#onDestroy = onDestroy
  }

  /** The WebGPU buffer of the present device. */
  get gpu(): GPUBuffer {
    return this.#gpu
  }

  /** How many devices this buffer has lost; what was written before the latest loss is gone. */
  get epoch(): number {
    return this.#epoch
  }

  /** Puts memory of a new device in the place of the lost one's. */
  replace(gpu: GPUBuffer): void {
    this.#gpu = gpu
    this.#epoch++
  }

  destroy(): void {
    this.#gpu.destroy()
    this.#onDestroy(this)
  }
}

type Span = readonly [start: number, end: number]

/** `spans` without what lies in [start, end). */
export function without(spans: readonly Span[], start: number, end: number): Span[] {
  return spans.flatMap(([from, to]): Span[] => {
    if (to <= start || end <= from) return [[from, to]]
    const left: Span[] = from < start ? [[from, start]] : []
    return end < to ? [...left, [end, to]] : left
  })
}

/**
 * Which bytes of an allocation a lost device took with it. Nothing is tracked before a loss: memory is
 * lost as a whole when its buffer was replaced, and comes back range by range as it is written.
 */
export class Contents {
  #epoch = 0
  #lost: readonly Span[] = []

  /** Counts from now: what the buffer held before is nobody's. */
  begin(buffer: DeviceBuffer): void {
    this.#epoch = buffer.epoch
    this.#lost = []
  }

  isLost(buffer: DeviceBuffer, start: number, end: number): boolean {
    this.#catchUp(buffer)
    return this.#lost.some(([from, to]) => from < end && start < to)
  }

  written(buffer: DeviceBuffer, start: number, end: number): void {
    this.#catchUp(buffer)
    if (this.#lost.length > 0) this.#lost = without(this.#lost, start, end)
  }

  #catchUp({ epoch }: DeviceBuffer): void {
    if (epoch === this.#epoch) return
    this.#epoch = epoch
    this.#lost = [[0, Infinity]]
  }
}
