import type { Device } from './device.ts'
import { KeeplightError } from './errors.ts'
import { sizeOf, type Shape } from './shape.ts'
import { keep, Tensor } from './tensor.ts'

/**
 * The trainable tensors of a model in one flat buffer, with their gradients in another, so that an
 * optimiser updates all of them in one dispatch. Gradients are written straight to their places.
 */
export class Parameters {
  readonly device: Device
  readonly tensors: ReadonlyMap<string, Tensor<'f32'>>
  /** [size]: every parameter, each at an aligned offset; the gaps are zero. */
  readonly values: Tensor<'f32'>
  /** [size]: gradients in the same layout. */
  readonly gradients: Tensor<'f32'>
  readonly #offsets: ReadonlyMap<string, number>

  constructor(device: Device, shapes: ReadonlyMap<string, Shape>) {
    this.device = device
    const alignment = device.offsetAlignment / 4
    const offsets = new Map<string, number>()
    let size = 0
    for (const [name, shape] of shapes) {
      offsets.set(name, size)
      size += Math.ceil(sizeOf(shape) / alignment) * alignment
    }
    this.#offsets = offsets
    const zeros = new Float32Array(size)
    this.values = keep(device.tensor(zeros, [size]))
    this.gradients = keep(device.tensor(zeros, [size]))
    const place = (flat: Tensor<'f32'>, name: string, shape: Shape): Tensor<'f32'> =>
      keep(new Tensor(device, flat.allocation, shape, 'f32', offsets.get(name)! * 4))
    this.tensors = new Map(
      Array.from(shapes, ([name, shape]) => {
        const tensor = place(this.values, name, shape)
        tensor.requiresGrad = true
        tensor.gradient = place(this.gradients, name, shape)
        return [name, tensor]
      }),
    )
  }

  /** The parameter of that name. */
  get(name: string): Tensor<'f32'> {
    const tensor = this.tensors.get(name)
    if (!tensor) {
      throw new KeeplightError(
        'usage',
        `no parameter ${name}; there are ${[...this.tensors.keys()].join(', ')}`,
      )
    }
    return tensor
  }

  list(): Tensor<'f32'>[] {
    return [...this.tensors.values()]
  }

  /** Values of every parameter, in their order, as the flat buffers have them. */
  pack(values: ReadonlyMap<string, Float32Array>): Float32Array<ArrayBuffer> {
    const flat = new Float32Array(this.values.size)
    for (const [name, tensor] of this.tensors) {
      const data = values.get(name)
      if (data?.length !== tensor.size) {
        throw new KeeplightError(
          'validation',
          `parameter ${name} is ${tensor.toString()}, got ${data ? `${data.length} values` : 'none'}`,
        )
      }
      flat.set(data, this.#offsets.get(name))
    }
    return flat
  }

  /** The reverse of {@link Parameters.pack}. */
  unpack(flat: Float32Array): Map<string, Float32Array<ArrayBuffer>> {
    return new Map(
      Array.from(this.tensors, ([name, tensor]) => {
        const start = this.#offsets.get(name)!
        return [name, new Float32Array(flat.subarray(start, start + tensor.size))]
      }),
    )
  }

  /** Writes all parameters at once; every one must be given, in its shape's size. */
  write(values: ReadonlyMap<string, Float32Array>): void {
    this.values.write(this.pack(values))
    // After a recovery: they are nothing before the next backward pass.
    const { allocation, offset, byteLength, size } = this.gradients
    if (allocation.isLost(offset, byteLength)) this.gradients.write(new Float32Array(size))
  }

  /** Reads all parameters, or all gradients, in one copy. */
  async read(
    which: 'values' | 'gradients' = 'values',
  ): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    return this.unpack(await this[which].read())
  }

  dispose(): void {
    for (const tensor of this.tensors.values()) {
      tensor.gradient?.dispose()
      tensor.dispose()
    }
    this.values.dispose()
    this.gradients.dispose()
  }
}
