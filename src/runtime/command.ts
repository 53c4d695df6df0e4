import { MAX_WORKGROUPS, packParams, type Kernel, type Workgroups } from '../kernels/kernel.ts'
import { KeeplightError } from './errors.ts'
import { formatShape, type Shape } from './shape.ts'
import { bytesPerElement, type Dtype } from './dtype.ts'
import type { Allocation } from './pool.ts'
import { splitDispatch, type BindingLimits, type Piece } from './split.ts'
import type { Tensor } from './tensor.ts'

/** What a binding sees: plain data, so that a command may outlive the tensors it was made from. */
export interface BufferRange {
  readonly allocation: Allocation
  /** Bytes from the start of the allocation. */
  readonly offset: number
  /** Bytes, rounded up to whole vec4s. */
  readonly size: number
  readonly dtype: Dtype
  readonly shape: Shape
}

/** One dispatch, ready to be encoded now or recorded for later. */
export interface Command {
  readonly kernel: Kernel
  /** In the order of the kernel's bindings. */
  readonly ranges: readonly BufferRange[]
  readonly params: ArrayBuffer
  readonly workgroups: Workgroups
}

/**
 * Checks a dispatch on the host, where the message can still name tensors and shapes.
 *
 * @returns one command, or several where a tensor is larger than a binding may be
 */
export function makeCommands(
  kernel: Kernel,
  tensors: Readonly<Record<string, Tensor>>,
  params: Readonly<Record<string, number>>,
  limits: BindingLimits,
): Command[] {
  const names = Object.keys(kernel.bindings)
  let large: string | undefined
  for (const name of names) {
    const tensor = tensors[name]
    if (!tensor)
      throw new KeeplightError('validation', `${kernel.label}: binding ${name} is missing`)
    tensor.assertAlive(kernel.label)
    if (kernel.bindings[name]!.access === 'readWrite') checkAlias(kernel, tensors, name, tensor)
    if (tensor.byteLength > limits.maxBindingBytes) large ??= name
  }
  if (large === undefined) {
    return [
      makeCommand(
        kernel,
        names.map((name) => rangeOf(tensors[name]!)),
        params,
      ),
    ]
  }
  const parts = splitDispatch(kernel, tensors, params, limits)
  if (!parts) {
    const tensor = tensors[large]!
    throw new KeeplightError(
      'validation',
      `${kernel.label}: ${large} ${tensor.toString()} has ${tensor.byteLength} bytes, a binding of ` +
        `this adapter takes ${limits.maxBindingBytes}, and this kernel can't be cut there; ` +
        `split the tensor along its first dimension`,
    )
  }
  return parts.map(({ pieces, params }) => {
    const ranges = names.map((name) => rangeOf(tensors[name]!, pieces.get(name)))
    return makeCommand(kernel, ranges, params)
  })
}

function makeCommand(
  kernel: Kernel,
  ranges: readonly BufferRange[],
  params: Readonly<Record<string, number>>,
): Command {
  const workgroups = kernel.workgroups(params)
  if (workgroups.some((count) => count > MAX_WORKGROUPS || count < 1)) {
    throw new KeeplightError(
      'validation',
      `${describe({ kernel, ranges })}: needs ${workgroups.join('×')} workgroups, ` +
        `a dimension takes 1 to ${MAX_WORKGROUPS}; split the work`,
    )
  }
  return { kernel, ranges, params: packParams(kernel, params), workgroups }
}

/** WebGPU forbids binding one buffer for reading and for writing in the same dispatch. */
function checkAlias(
  kernel: Kernel,
  tensors: Readonly<Record<string, Tensor>>,
  name: string,
  tensor: Tensor,
): void {
  for (const [other, { access }] of Object.entries(kernel.bindings)) {
    const second = tensors[other]
    if (other === name || second?.allocation !== tensor.allocation) continue
    const apart =
      second.offset + second.byteLength <= tensor.offset ||
      tensor.offset + tensor.byteLength <= second.offset
    if (access === 'readWrite' && apart) continue
    throw new KeeplightError(
      'validation',
      `${kernel.label}: ${name} ${tensor.toString()} is written while ${other} reads or writes ` +
        `the same buffer; give it an output of its own`,
    )
  }
}

/** `matmul.NT.tile(a f32[2, 3], b f32[4, 3], out f32[2, 4])` */
export function describe({ kernel, ranges }: Pick<Command, 'kernel' | 'ranges'>): string {
  const list = Object.keys(kernel.bindings).map((name, i) => {
    const { dtype, shape } = ranges[i]!
    return `${name} ${dtype}${formatShape(shape)}`
  })
  return `${kernel.label}(${list.join(', ')})`
}

function rangeOf(tensor: Tensor, piece?: Piece): BufferRange {
  const { allocation, offset, byteLength, dtype, shape } = tensor
  if (!piece) return { allocation, offset, size: Math.ceil(byteLength / 16) * 16, dtype, shape }
  const [start, bytes] = [piece.start, piece.count].map((n) => n * bytesPerElement[dtype])
  return {
    allocation,
    offset: offset + start!,
    size: Math.ceil(bytes! / 16) * 16,
    dtype,
    shape: [piece.count],
  }
}
