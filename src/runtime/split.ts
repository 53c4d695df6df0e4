import type { Kernel, Split } from '../kernels/kernel.ts'
import { bytesPerElement } from './dtype.ts'
import type { Tensor } from './tensor.ts'

/**
 * Cuts a dispatch whose tensors are larger than one binding into several, by what its kernel declares
 * (see `Split` of `src/kernels/kernel.ts`).
 */

export interface BindingLimits {
  /** Bytes that a binding takes at most. */
  readonly maxBindingBytes: number
  /** Bytes that the start of a binding must be a multiple of. */
  readonly offsetAlignment: number
}

/** A run of a tensor's elements. */
export interface Piece {
  readonly tensor: Tensor
  readonly start: number
  readonly count: number
}

export interface Part {
  /** By binding; those that a part binds whole are left out. */
  readonly pieces: ReadonlyMap<string, Piece>
  readonly params: Readonly<Record<string, number>>
}

type Params = Readonly<Record<string, number>>

/**
 * The parts of a dispatch, in ascending order of its units.
 *
 * @returns undefined when no declared cut brings every binding within the limit
 */
export function splitDispatch(
  kernel: Kernel,
  tensors: Readonly<Record<string, Tensor>>,
  params: Params,
  limits: BindingLimits,
): Part[] | undefined {
  for (const split of kernel.splits ?? []) {
    const units = unitsOfPart(kernel, split, tensors, params, limits)
    if (units !== undefined) return partsOf(kernel, split, tensors, params, units)
  }
  return undefined
}

/** Units of every part but the last, or undefined when this cut does not fit. */
function unitsOfPart(
  kernel: Kernel,
  split: Split,
  tensors: Readonly<Record<string, Tensor>>,
  params: Params,
  limits: BindingLimits,
): number | undefined {
  const step = value(split.step, params) || 1
  // `per` may be a fraction, of which `step` makes a whole.
  const stepBytes: number[] = []
  for (const name of Object.keys(kernel.bindings)) {
    const { byteLength, dtype } = tensors[name]!
    const per = value(split.per[name], params)
    if (per > 0) stepBytes.push(Math.round(per * step) * bytesPerElement[dtype])
    else if (byteLength > limits.maxBindingBytes) return undefined
  }
  const steps = largestPart(stepBytes, Math.ceil(params[split.along]! / step), limits)
  return steps > 0 ? steps * step : undefined
}

/**
 * The largest number of units, at most `total`, of which a part can be made.
 *
 * @param bytes of a unit in each binding that is cut
 * @returns 0 when the smallest part that ends at an aligned place is larger than a binding
 */
export function largestPart(
  bytes: readonly number[],
  total: number,
  { maxBindingBytes, offsetAlignment }: BindingLimits,
): number {
  let step = 1
  for (const unit of bytes) {
    step *= offsetAlignment / greatestCommonDivisor(unit * step, offsetAlignment)
  }
  // Bindings are rounded up to whole vec4s.
  const limit = Math.floor(maxBindingBytes / 16) * 16
  const fitting = bytes.map((unit) => Math.floor(limit / (unit * step)) * step)
  return Math.min(total, ...fitting)
}

function partsOf(
  kernel: Kernel,
  split: Split,
  tensors: Readonly<Record<string, Tensor>>,
  params: Params,
  units: number,
): Part[] {
  const total = params[split.along]!
  const parts: Part[] = []
  for (let first = 0; first < total; first += units) {
    const count = Math.min(units, total - first)
    const pieces = new Map<string, Piece>()
    for (const name of Object.keys(kernel.bindings)) {
      const per = value(split.per[name], params)
      if (per === 0) continue
      const start = Math.round(first * per)
      const end = Math.ceil((first + count) * per - 1e-6)
      pieces.set(name, { tensor: tensors[name]!, start, count: end - start })
    }
    const offset = split.offset ? { [split.offset]: params[split.offset]! + first } : {}
    parts.push({ pieces, params: { ...params, [split.along]: count, ...offset } })
  }
  return parts
}

const value = (given: number | ((params: Params) => number) | undefined, params: Params): number =>
  typeof given === 'function' ? given(params) : (given ?? 0)

function greatestCommonDivisor(a: number, b: number): number {
  while (b > 0) [a, b] = [b, a % b]
  return a
}
