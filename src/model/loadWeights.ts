import type { Device } from '../runtime/device.ts'
import type { TensorArray } from '../runtime/dtype.ts'
import { keep, type Tensor } from '../runtime/tensor.ts'
import {
  checkWeights,
  addBias,
  checksum,
  matrixReference,
  type MatrixCheck,
  type PlainCheck,
} from './canary.ts'
import { assertVanishing, fillSlots, slotsOf, type DeviceLeaves, type Slot } from './checkpoint.ts'
import {
  assertFinite,
  convertMatrix,
  floatsOf,
  type HostMatrix,
  type StoredPiece,
  type WeightDtype,
} from './convertWeights.ts'
import type { LoadProgress, SafetensorsSource } from './safetensorsSource.ts'
import type { StoredTensor } from './storedTensor.ts'

export interface LoadOptions {
  readonly device: Device
  /**
   * How weights of linear layers are kept on the device, by default `f32`: 4, 2 or 1 byte each. The
   * patch embedding, norms, biases, token and position tables are f32 always.
   */
  readonly dtype?: WeightDtype
  /** Told of bytes that have come. */
  readonly onProgress?: (progress: LoadProgress) => void
  readonly signal?: AbortSignal
}

type Leaf = DeviceLeaves[keyof DeviceLeaves]

/** Bytes after which uploads are waited for, so that no copies of them pile up. */
const SYNC_BYTES = 64 * 2 ** 20

/**
 * Reads the tensors of slots in the order of the file and puts each on the device as soon as it has
 * come, so that host memory holds about one weight at a time; then checks them there
 * (`canary.ts`). For a recovery, files and Blobs are read again; of others a copy in the kept
 * dtype stays on the host.
 *
 * @param slots a structure of slots, as `planVit` makes it
 * @returns the structure with tensors in the place of slots, which the caller owns, and the hash of
 *   {@link SafetensorsSource.hash}, with the dtype after it where that is not f32
 * @throws KeeplightError `input` and `format` from reading, `internal` when the device holds something
 *   else than it was given, `aborted`; nothing stays on the device then
 */
export async function loadWeights<R>(
  checkpoint: SafetensorsSource,
  slots: unknown,
  options: LoadOptions,
): Promise<{ weights: R; hash: string; checks: (MatrixCheck | PlainCheck)[] }> {
  const { device, dtype = 'f32', signal } = options
  const loader = new Loader(checkpoint, device, dtype)
  const all = slotsOf(slots)
  const places = new Map<string, Slot>()
  for (const slot of all) for (const name of tensorsOf(slot)) places.set(name, slot)
  const waiting = new Map<Slot, Map<string, StoredTensor>>()
  try {
    for await (const { name, ...tensor } of checkpoint.stream(places.keys(), options)) {
      const slot = places.get(name)!
      const have = waiting.get(slot) ?? new Map<string, StoredTensor>()
      waiting.set(slot, have.set(name, tensor))
      if (have.size < tensorsOf(slot).length) continue
      waiting.delete(slot)
      loader.upload(slot, piecesOf(slot, have))
      if (loader.unsynced >= SYNC_BYTES) await loader.sync()
    }
    await loader.sync()
    const checks = loader.checks()
    await checkWeights(device, checks)
    const hash = await checkpoint.hash(places.keys(), signal)
    return {
      weights: fillSlots<R>(slots, (slot) => loader.leaves.get(slot)),
      hash: dtype === 'f32' ? hash : `${hash}-${dtype}`,
      checks,
    }
  } catch (error) {
    loader.dispose()
    throw error
  }
}

const tensorsOf = ({ pieces }: Slot): string[] =>
  pieces.flatMap(({ name, scales }) => (scales === undefined ? [name] : [name, scales]))

const piecesOf = ({ pieces }: Slot, have: ReadonlyMap<string, StoredTensor>): StoredPiece[] =>
  pieces.map(({ name, scales }) => ({
    values: have.get(name)!,
    scales: scales === undefined ? undefined : have.get(scales)!,
  }))

class Loader {
  readonly leaves = new Map<Slot, Leaf>()
  /** Bytes written since the last sync. */
  unsynced = 0
  readonly #checkpoint: SafetensorsSource
  readonly #device: Device
  readonly #dtype: WeightDtype
  readonly #owned: Tensor[] = []
  /** Host values of small tensors, for checks of the products that they are added to. */
  readonly #small = new Map<Slot, Float32Array>()
  readonly #sums = new Map<Slot, number>()
  readonly #references = new Map<Slot, MatrixCheck['reference']>()

  constructor(checkpoint: SafetensorsSource, device: Device, dtype: WeightDtype) {
    this.#checkpoint = checkpoint
    this.#device = device
    this.#dtype = dtype
  }

  upload(slot: Slot, parts: readonly StoredPiece[]): void {
    const floats = floatsOf(slot, parts)
    assertFinite(slot, floats)
    assertVanishing(slot, floats)
    if (slot.kind === 'host') {
      this.leaves.set(slot, floats)
    } else if (slot.kind === 'plain') {
      this.#sums.set(slot, checksum(floats))
      if (slot.shape.length === 1) this.#small.set(slot, floats)
      const again = this.#again(slot, (values) => values)
      this.leaves.set(slot, this.#constant(floats, slot.shape, again))
    } else {
      const matrix = slot as Slot<'matrix'>
      const kept = convertMatrix(matrix, parts, floats, this.#dtype)
      this.#references.set(slot, matrixReference(floats, slot.shape as [number, number], kept))
      this.leaves.set(slot, this.#uploadMatrix(matrix, kept))
    }
  }

  #uploadMatrix(slot: Slot<'matrix'>, kept: HostMatrix): DeviceLeaves['matrix'] {
    const { shape } = slot
    const again = <A extends TensorArray>(part: (kept: HostMatrix) => A) =>
      this.#again(slot, (floats, parts) => part(convertMatrix(slot, parts, floats, this.#dtype)))
    if (kept instanceof Float32Array) {
      return this.#constant(
        kept,
        shape,
        again((each) => each as Float32Array),
      )
    }
    if (kept instanceof Uint16Array) {
      return this.#constant(
        kept,
        shape,
        again((each) => each as Uint16Array<ArrayBuffer>),
      )
    }
    type Rows = Exclude<HostMatrix, Float32Array | Uint16Array>
    return {
      values: this.#constant(
        kept.values,
        shape,
        again((each) => (each as Rows).values),
      ),
      scales: this.#constant(
        kept.scales,
        [shape[0]!],
        again((each) => (each as Rows).scales),
      ),
    }
  }

  /** How a recovery gets a slot's values once more, where that is cheap and sure. */
  #again<A>(
    slot: Slot,
    convert: (floats: Float32Array, parts: readonly StoredPiece[]) => A,
  ): (() => Promise<A>) | undefined {
    const checkpoint = this.#checkpoint
    if (!checkpoint.durable) return undefined
    return async () => {
      try {
        const have = new Map<string, StoredTensor>()
        for (const name of tensorsOf(slot)) have.set(name, await checkpoint.tensor(name))
        const parts = piecesOf(slot, have)
        return convert(floatsOf(slot, parts), parts)
      } finally {
        await checkpoint.close()
      }
    }
  }

  #constant<A extends TensorArray>(
    values: A,
    shape: readonly number[],
    again: (() => Promise<A>) | undefined,
  ) {
    const tensor = keep(this.#device.constant(values, shape, again))
    this.#owned.push(tensor)
    this.unsynced += values.byteLength
    return tensor
  }

  async sync(): Promise<void> {
    this.unsynced = 0
    await this.#device.sync()
  }

  /** What to compare: products of matrices, with their biases, and the bits of everything else. */
  checks(): (MatrixCheck | PlainCheck)[] {
    return [...this.leaves].flatMap(([slot, leaf]): (MatrixCheck | PlainCheck)[] => {
      const { label } = slot
      if (slot.kind === 'host') return []
      if (slot.kind === 'plain') {
        return [{ kind: 'plain', label, tensor: leaf as Tensor<'f32'>, sum: this.#sums.get(slot)! }]
      }
      const weight = leaf as DeviceLeaves['matrix']
      const bias = slot.bias && (this.leaves.get(slot.bias) as Tensor<'f32'>)
      const reference = this.#references.get(slot)!
      if (slot.bias) addBias(reference, this.#small.get(slot.bias)!)
      return [{ kind: 'matrix', label, weight, bias, reference }]
    })
  }

  dispose(): void {
    this.#owned.forEach((tensor) => tensor.dispose())
  }
}
