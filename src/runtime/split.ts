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
  const splits = kernel.splits ?? []
  const cut = (split: Split, name: string): boolean => value(split.per[name], params) > 0
  const apart = (a: Split, b: Split): boolean =>
    Object.keys(kernel.bindings).every((name) => !cut(a, name) || !cut(b, name))
  const pairs = splits.flatMap((a, i) =>
    splits.slice(i + 1).flatMap((b) => (apart(a, b) ? [[a, b]] : [])),
  )
  for (const cuts of [...splits.map((split) => [split]), ...pairs]) {
    const fits = Object.keys(kernel.bindings).every((name) => {
      const small = tensors[name]!.byteLength <= limits.maxBindingBytes
      return small || cuts.some((split) => cut(split, name))
    })
    const units = cuts.map((split) => unitsOfPart(kernel, split, tensors, params, limits))
    if (!fits || units.includes(0)) continue
    return cuts.reduce<Part[]>(
      (parts, split, i) =>
        parts.flatMap((part) => partsOf(kernel, split, tensors, part, params, units[i]!)),
      [{ pieces: new Map(), params }],
    )
  }
  return undefined
}

/** Units of every part but the last; 0 when the smallest part is larger than a binding. */
function unitsOfPart(
  kernel: Kernel,
  split: Split,
  tensors: Readonly<Record<string, Tensor>>,
  params: Params,
  limits: BindingLimits,
): number {
  const step = value(split.step, params) || 1
  // `per` may be a fraction, of which `step` makes a whole.
  const stepBytes = Object.keys(kernel.bindings).flatMap((name) => {
    const per = value(split.per[name], params)
    return per > 0 ? [Math.round(per * step) * bytesPerElement[tensors[name]!.dtype]] : []
  })
  return largestPart(stepBytes, Math.ceil(params[split.along]! / step), limits) * step
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

/** What `whole` becomes along one cut; `params` are those of the dispatch. */
function partsOf(
  kernel: Kernel,
  split: Split,
  tensors: Readonly<Record<string, Tensor>>,
  whole: Part,
  params: Params,
  units: number,
): Part[] {
  const total = params[split.along]!
  const parts: Part[] = []
  for (let first = 0; first < total; first += units) {
    const count = Math.min(units, total - first)
    const pieces = new Map(whole.pieces)
    for (const name of Object.keys(kernel.bindings)) {
      const per = value(split.per[name], params)
      if (per === 0) continue
      const start = Math.round(first * per)
      const end = Math.ceil((first + count) * per - 1e-6)
      pieces.set(name, { tensor: tensors[name]!, start, count: end - start })
    }
    const offset = split.offset ? { [split.offset]: params[split.offset]! + first } : {}
    parts.push({ pieces, params: { ...whole.params, [split.along]: count, ...offset } })
  }
  return parts
}

const value = (given: number | ((params: Params) => number) | undefined, params: Params): number =>
  typeof given === 'function' ? given(params) : (given ?? 0)

function greatestCommonDivisor(a: number, b: number): number {
  while (b > 0) [a, b] = [b, a % b]
  return a
}
