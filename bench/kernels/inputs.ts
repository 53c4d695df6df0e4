import { randomUniform, type Device, type Tensor } from '../../src/index.node.ts'

type Shape = readonly number[]

/** Makes the inputs of one measurement and frees them after it. */
export class Inputs {
  readonly device: Device
  readonly #tensors: Tensor[] = []

  constructor(device: Device) {
    this.device = device
  }

  /** Uniform in [−scale, scale). */
  readonly random = (shape: Shape, scale = 1): Tensor<'f32'> => {
    const values = Float32Array.from(words(shape), (word) => (word * 2 - 1) * scale)
    return this.#own(this.device.tensor(values, shape))
  }

  readonly zeros = (shape: Shape): Tensor<'f32'> =>
    this.#own(this.device.tensor(new Float32Array(sizeOf(shape)), shape))

  /** Whole numbers below `limit`. */
  readonly integers = (shape: Shape, limit: number): Tensor<'u32'> => {
    const values = Uint32Array.from(words(shape), (word) => Math.floor(word * limit))
    return this.#own(this.device.tensor(values, shape))
  }

  #own<T extends Tensor>(tensor: T): T {
    this.#tensors.push(tensor)
    return tensor
  }

  dispose(): void {
    this.#tensors.forEach((tensor) => tensor.dispose())
  }
}

/** Drawn once, since large inputs need millions; a prime length, so that no row repeats another. */
const drawn = Float64Array.from({ length: 65_521 }, (_, i) => randomUniform(0, 0, i))

const words = (shape: Shape): { length: number } & Iterable<number> =>
  Array.from({ length: sizeOf(shape) }, (_, i) => drawn[i % drawn.length]!)

const sizeOf = (shape: Shape): number => shape.reduce((size, extent) => size * extent, 1)
