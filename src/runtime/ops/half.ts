import type { FloatDtype } from '../dtype.ts'
import { inOp } from '../outOfMemory.ts'
import { expect } from '../shape.ts'
import { needsGradient } from '../tape.ts'
import { scope, type Tensor } from '../tensor.ts'
import { toF16, toF32 } from './cast.ts'

/**
 * Ops on f16: a way to store what inference passes from op to op in half the memory. Arithmetic is f32
 * whatever the storage; an f16 output is rounded once and carries no gradient.
 */

type Floats = Readonly<Record<string, Tensor<FloatDtype> | undefined>>

type Wide<I extends Floats> = {
  readonly [K in keyof I]: Tensor<'f32'> | Extract<I[K], undefined>
}

interface Ways<I extends Floats, D extends FloatDtype> {
  /** The op on f32 alone, with its gradient rule. */
  readonly wide: (inputs: Wide<I>) => Tensor<'f32'>
  /** The op by a kernel that reads and writes f16 in place, outside the tape. */
  readonly half: () => Tensor<D>
}

/** f16 where both are, as in PyTorch. */
export type Promoted<A extends FloatDtype, B extends FloatDtype> = A extends 'f16' ? B : 'f32'

/** Throws unless these are of one of `allowed`. */
export function expectDtype(
  op: string,
  tensors: Readonly<Record<string, Tensor | undefined>>,
  ...allowed: readonly string[]
): void {
  for (const [name, tensor] of Object.entries(tensors)) {
    expect(tensor === undefined || allowed.includes(tensor.dtype), op, () => {
      return `${name} is ${tensor!.toString()}, expected ${allowed.join(' or ')}`
    })
  }
}

/**
 * Runs an op whose inputs and output may be f16: by its f32 form where none is, else by a kernel for
 * f16. Where the adapter has no f16, or f32 inputs are to have gradients, f16 inputs are widened first,
 * and an f16 output is rounded by a cast.
 *
 * @param dtype of the output
 * @throws KeeplightError `validation` when an input is no float, or an f16 output is to have a gradient
 */
export function inStorage<I extends Floats, D extends FloatDtype>(
  op: string,
  inputs: I,
  dtype: D,
  { wide, half }: Ways<I, D>,
): Tensor<D> {
  const tensors = Object.values(inputs).filter((tensor) => tensor !== undefined)
  tensors.forEach((tensor) => tensor.assertAlive(op))
  expectDtype(op, inputs, 'f32', 'f16')
  if (dtype === 'f32' && tensors.every((tensor) => tensor.dtype === 'f32')) {
    return wide(inputs as unknown as Wide<I>) as Tensor<FloatDtype> as Tensor<D>
  }
  const taped = needsGradient(...tensors)
  expect(!taped || dtype === 'f32', op, () => {
    return 'an f16 output carries no gradient; ask for f32, or wrap the call in withoutTape()'
  })
  if (!taped && tensors[0]!.device.has('shader-f16')) return inOp(op, half)
  return inOp(op, () => scope(() => throughF32(inputs, dtype, wide)))
}

function throughF32<I extends Floats, D extends FloatDtype>(
  inputs: I,
  dtype: D,
  wide: Ways<I, D>['wide'],
): Tensor<D> {
  const widened = new Map<Tensor, Tensor<'f32'>>()
  const entries = Object.entries(inputs).map(([name, tensor]) => {
    if (tensor?.dtype !== 'f16') return [name, tensor] as const
    const copy = widened.get(tensor) ?? toF32(tensor as Tensor<'f16'>)
    widened.set(tensor, copy)
    return [name, copy] as const
  })
  const out = wide(Object.fromEntries(entries) as Wide<I>)
  return (dtype === 'f16' ? toF16(out) : out) as Tensor<FloatDtype> as Tensor<D>
}
