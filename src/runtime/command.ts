import { MAX_WORKGROUPS, packParams, type Kernel, type Workgroups } from '../kernels/kernel.ts'
import { KeeplightError } from './errors.ts'
import { formatShape, type Shape } from './shape.ts'
import type { Dtype } from './dtype.ts'
import type { Allocation } from './pool.ts'
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

/** Checks a dispatch on the host, where the message can still name tensors and shapes. */
export function makeCommand(
  kernel: Kernel,
  tensors: Readonly<Record<string, Tensor>>,
  params: Readonly<Record<string, number>>,
  maxBindingBytes: number,
): Command {
  const ranges = Object.entries(kernel.bindings).map(([name, binding]) => {
    const tensor = tensors[name]
    if (!tensor)
      throw new KeeplightError('validation', `${kernel.label}: binding ${name} is missing`)
    tensor.assertAlive(kernel.label)
    if (tensor.byteLength > maxBindingBytes) {
      throw new KeeplightError(
        'validation',
        `${kernel.label}: ${name} ${tensor.toString()} has ${tensor.byteLength} bytes, ` +
          `this adapter binds at most ${maxBindingBytes}; split it along its first dimension`,
      )
    }
    if (binding.access === 'readWrite') checkAlias(kernel, tensors, name, tensor)
    return rangeOf(tensor)
  })
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

function rangeOf({ allocation, offset, byteLength, dtype, shape }: Tensor): BufferRange {
  const size = Math.ceil(byteLength / 16) * 16
  return { allocation, offset, size, dtype, shape }
}
