import { randomUniform, type Device, type Tensor } from '../../src/index.node.ts'

type Shape = readonly number[]

/** Makes the inputs of one measurement and frees them after it. */
export class Inputs {
  readonly device: Device
  readonly #dispose: (() => void)[] = []

  constructor(device: Device) {
    this.device = device
  }

  /** Uniform in [−scale, scale). */
  readonly random = (shape: Shape, scale = 1): Tensor<'f32'> => {
    const values = new Float32Array(sizeOf(shape))
    for (let i = 0; i < values.length; i++) {
      values[i] = (drawn[i % drawn.length] * 2 - 1) * scale
    }
    return this.own(this.device.tensor(values, shape))
  }

  readonly zeros = (shape: Shape): Tensor<'f32'> =>
    this.own(this.device.tensor(new Float32Array(sizeOf(shape)), shape))

  /** Whole numbers below `limit`. */
  readonly integers = (shape: Shape, limit: number): Tensor<'u32'> => {
    const values = new Uint32Array(sizeOf(shape))
    for (let i = 0; i < values.length; i++) values[i] = drawn[i % drawn.length] * limit
    return this.own(this.device.tensor(values, shape))
  }

  /** Disposes it with the inputs. */
  readonly own = <T extends { dispose(): unknown }>(item: T): T => {
    this.#dispose.push(() => item.dispose())
    return item
  }

  dispose(): void {
    this.#dispose.forEach((dispose) => dispose())
  }
}

/** Drawn once, since large inputs need millions; a prime length, so that no row repeats another. */
const drawn = Float64Array.from({ length: 65_521 }, (_, i) => randomUniform(0, 0, i))

const sizeOf = (shape: Shape): number => shape.reduce((size, extent) => size * extent, 1)
