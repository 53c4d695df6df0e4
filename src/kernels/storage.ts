import type { ElementType, KernelFeature } from './kernel.ts'

/**
 * How an array of real numbers is stored. Arithmetic, sums and statistics are f32 either way: sums and
 * norms of f16 overflow on the activations of real models.
 */
export type FloatStorage = 'f32' | 'f16'

/** Element type of an array that is read one by one, or as vec4s. */
export function storedType(storage: FloatStorage = 'f32', vector: boolean): ElementType {
  return vector ? `vec4<${storage}>` : storage
}

/** What a kernel needs for arrays stored like this. */
export const storageFeatures = (
  ...storages: readonly (FloatStorage | undefined)[]
): KernelFeature[] => (storages.includes('f16') ? ['shader-f16'] : [])
