import type { Device } from './device.ts'
import { KeeplightError } from './errors.ts'
import type { Allocation } from './pool.ts'
import { bytesPerElement, type ArrayOf, type Dtype, type TensorArray } from './dtype.ts'
import { formatShape, sizeOf, type Shape } from './shape.ts'
import type { TapeNode } from './tape.ts'

/**
 * A range of a GPU buffer with a shape and a dtype; contiguous, row-major.
 *
 * Its lifetime is explicit: it lives until `dispose()`, or until the enclosing {@link scope} ends.
 * Several tensors may share one allocation (see {@link Tensor.view}); it is freed with the last.
 */
export class Tensor<D extends Dtype = Dtype> {
  readonly device: Device
  readonly shape: Shape
  readonly dtype: D
  readonly allocation: Allocation
  /** Byte offset into the allocation's buffer. */
  readonly offset: number
  /** The op that made this tensor, while something upstream requires a gradient. */
  node: TapeNode | undefined
  /** True for trainable leaves. */
  requiresGrad = false
  /** Where {@link backward} writes the gradient of a trainable leaf, if it has a fixed place. */
  gradient: Tensor<'f32'> | undefined
  #disposed = false

  /** @internal Use the device's or an op's constructors. */
  constructor(device: Device, allocation: Allocation, shape: Shape, dtype: D, offset = 0) {
    this.device = device
    this.allocation = allocation
    this.shape = shape
    this.dtype = dtype
    this.offset = offset
    allocation.retain()
    register(this)
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape)
  }

  get byteLength(): number {
    return this.size * bytesPerElement[this.dtype]
  }

  get disposed(): boolean {
    return this.#disposed
  }

  toString(): string {
    return `${this.dtype}${formatShape(this.shape)}`
  }

  /** Throws a `disposed` error when this tensor is gone; `op` names who asked. */
  assertAlive(op: string): void {
    if (this.#disposed) {
      throw new KeeplightError(
        'disposed',
        `${op}: ${this.toString()} was disposed; keep() it, or return it from its scope`,
      )
    }
  }

  /** A tensor over the same memory with another shape of the same size; outside the tape. */
  view(shape: Shape): Tensor<D> {
    this.assertAlive('view')
    if (sizeOf(shape) !== this.size) {
      throw new KeeplightError(
        'validation',
        `view: ${this.toString()} has ${this.size} elements, ${formatShape(shape)} has ${sizeOf(shape)}`,
      )
    }
    return new Tensor(this.device, this.allocation, shape, this.dtype, this.offset)
  }

  /** `count` rows of the first dimension from `start`, over the same memory; outside the tape. */
  rows(start: number, count: number): Tensor<D> {
    this.assertAlive('rows')
    const [total = 0, ...rest] = this.shape
    const bytes = sizeOf(rest) * bytesPerElement[this.dtype]
    if (start < 0 || count < 1 || start + count > total) {
      throw new KeeplightError(
        'validation',
        `rows: ${start}…${start + count} is outside the ${total} rows of ${this.toString()}`,
      )
    }
    const offset = this.offset + start * bytes
    if (offset % this.device.offsetAlignment !== 0) {
      throw new KeeplightError(
        'validation',
        `rows: row ${start} of ${this.toString()} starts at byte ${offset}, which is no multiple of ` +
          `${this.device.offsetAlignment}; gather the rows instead`,
      )
    }
    if (start + count < total && (count * bytes) % 4 !== 0) {
      throw new KeeplightError(
        'validation',
        `rows: ${count} rows of ${this.toString()} end within a word of four bytes; gather the rows instead`,
      )
    }
    return new Tensor(this.device, this.allocation, [count, ...rest], this.dtype, offset)
  }

  /** Copies the values to the host once everything enqueued before has run. */
  read(): Promise<ArrayOf<D>> {
    this.assertAlive('read')
    return this.device.read(this)
  }

  /** Replaces the values. `data` must have this tensor's size and dtype. */
  write(data: TensorArray): void {
    this.assertAlive('write')
    this.device.write(this, data)
  }

  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.node?.release()
    this.node = undefined
    this.allocation.release()
  }
}

const scopes: Set<Tensor>[] = []

function register(tensor: Tensor): void {
  scopes.at(-1)?.add(tensor)
}

/**
 * Runs `body` and disposes every tensor that it made, except those it returns (in arrays and plain
 * objects too), which pass to the enclosing scope. `body` must not be async.
 */
export function scope<R>(body: () => R): R {
  const made = new Set<Tensor>()
  scopes.push(made)
  let result: R
  try {
    result = body()
    if (result instanceof Promise) {
      throw new KeeplightError('usage', 'scope: the body returned a promise; read results outside')
    }
  } catch (error) {
    scopes.pop()
    made.forEach((tensor) => tensor.dispose())
    throw error
  }
  scopes.pop()
  const returned = tensorsIn(result)
  for (const tensor of made) {
    if (returned.has(tensor)) register(tensor)
    else tensor.dispose()
  }
  return result
}

/** Another tensor over the same memory, in no scope: the tape's hold on what its rules saved. */
export function hold<D extends Dtype>(tensor: Tensor<D>): Tensor<D> {
  return keep(
    new Tensor(tensor.device, tensor.allocation, tensor.shape, tensor.dtype, tensor.offset),
  )
}

/** Takes a tensor out of its scope: it lives until it is disposed by hand. */
export function keep<T extends Tensor>(tensor: T): T {
  for (const made of scopes) made.delete(tensor)
  return tensor
}

/** All tensors inside a value made of tensors, arrays and plain objects. */
export function tensorsIn(value: unknown, found: Set<Tensor> = new Set()): Set<Tensor> {
  if (value instanceof Tensor) found.add(value)
  else if (Array.isArray(value)) value.forEach((item) => tensorsIn(item, found))
  else if (typeof value === 'object' && value !== null) {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Object.prototype || prototype === null) {
      Object.values(value).forEach((item) => tensorsIn(item, found))
    }
  }
  return found
}
