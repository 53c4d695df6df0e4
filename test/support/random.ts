import { randomUniform } from '../../src/kernels/random.ts'

/** `size` floats in [−scale, scale), never exactly zero in bulk; a function of the seed alone. */
export function randomArray(size: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: size }, (_, i) => (randomUniform(seed, 77, i) * 2 - 1) * scale)
}
