import type { Features } from '../model/features.ts'
import type { Device } from '../runtime/device.ts'
import { OutOfMemoryError } from '../runtime/outOfMemory.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { ResidentSource, type BatchSource, type SamplingOptions } from './batchSource.ts'
import { FeatureStore, storeChunks, type StoreChunk } from './featureStore.ts'
import { HostRows } from './hostRows.ts'
import { StreamingSource } from './streamingSource.ts'

/** What a source of batches is made for. */
export interface SourceOptions extends SamplingOptions {
  /** Whether rows are brought to length 1. */
  readonly normalize: boolean
  /** R at most: runs that train side by side. */
  readonly runs: number
  /** Bytes of features that may lie on the GPU. */
  readonly memoryBudget: number
}

/** Bytes of the features and all their views. */
export const featureBytes = ({ count, dimension, views }: Features): number =>
  (1 + views) * count * dimension * 4

/**
 * Features that fit the budget lie on the GPU; more of them, or those for which the GPU has no memory
 * after all, stay on the host and stream. Either way the batches have the same bits.
 */
export async function chooseSource(
  device: Device,
  features: Features,
  options: SourceOptions,
): Promise<BatchSource> {
  const store =
    featureBytes(features) <= options.memoryBudget
      ? await residentStore(device, features, options.normalize)
      : undefined
  return store
    ? new ResidentSource(device, store, options)
    : new StreamingSource(device, new HostRows(features, options.normalize), options)
}

/** The features on the GPU; none when it has no memory for them. */
async function residentStore(
  device: Device,
  features: Features,
  normalize: boolean,
): Promise<FeatureStore | undefined> {
  const { count, dimension, views } = features
  // Asked for before anything is written to it, the pool's next buffers of these sizes.
  const reserved: StoreChunk[] = []
  try {
    const reserve = (_: number, __: number, shape: readonly [number, number]): Tensor<'f32'> =>
      device.empty(shape)
    reserved.push(...storeChunks(device, (1 + views) * count, dimension, reserve))
    await device.allocated()
    device.assertAllocated(reserved.map(({ tensor }) => tensor.allocation))
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error
    device.forgive(error)
    return undefined
  } finally {
    reserved.forEach(({ tensor }) => tensor.dispose())
  }
  return new FeatureStore(device, features, normalize)
}
