import type { Activation } from '../../kernels/activations.ts'
import { eachThread } from '../../kernels/elementwise.ts'
import {
  powerBackwardKernel,
  powerKernel,
  unaryBackwardKernel,
  unaryFunctions,
  unaryKernel,
  type Unary,
} from '../../kernels/unary.ts'
import type { FloatDtype } from '../dtype.ts'
import { expect } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { inStorage } from './half.ts'

type F32 = Tensor<'f32'>

/** Whether, and only then, a kernel is to store f16. */
const halfOf = ({ dtype }: Tensor): { half?: true } => (dtype === 'f16' ? { half: true } : {})

/** f(x), outside the tape. */
function map<D extends FloatDtype>(name: Unary, x: Tensor<D>): Tensor<D> {
  const { device, size } = x
  const out = device.empty(x.shape, x.dtype)
  const each = eachThread(device.adapter.software)
  device.dispatch(unaryKernel({ name, each, ...halfOf(x) }), { x, out }, { size })
  return out
}

const unaryOp = (name: Unary): Op<{ x: F32 }, undefined, { saved: F32 }> => ({
  name,
  forward({ x }) {
    const out = map(name, x)
    return { out, saved: { saved: unaryFunctions[name].saves === 'x' ? x : out } }
  },
  backward({ gradient, saved: { saved }, output }) {
    const dX = output('x')
    const { device, size } = dX
    const each = eachThread(device.adapter.software)
    const tensors = { saved, dOut: gradient, dX }
    device.dispatch(unaryBackwardKernel({ name, each }), tensors, { size })
    return { x: dX }
  },
})

type UnaryFunction = <D extends FloatDtype>(x: Tensor<D>) => Tensor<D>

/** A function of every element, f32 or f16; the result is of x's dtype. */
const unary = (name: Unary): UnaryFunction => {
  const op = unaryOp(name)
  return (x) =>
    inStorage(name, { x }, x.dtype, {
      wide: (wide) => apply(op, wide, undefined),
      half: () => map(name, x),
    })
}

export const relu = unary('relu')
/** GELU by erf: x·Φ(x). */
export const gelu = unary('gelu')
/** x·σ(1.702 x), CLIP's approximation of GELU. */
export const quickGelu = unary('quickGelu')
/** x·σ(x) */
export const silu = unary('silu')

const activations: Readonly<Record<Activation, UnaryFunction>> = {
  none: unary('none'),
  relu,
  gelu,
  quickGelu,
  silu,
}
/** activation(x), elementwise. */
export const activate = <D extends FloatDtype>(x: Tensor<D>, activation: Activation): Tensor<D> =>
  activations[activation](x)

/** |x|; its gradient at 0 is 0. */
export const abs = unary('abs')
/** The error function. */
export const erf = unary('erf')
/** eˣ */
export const exp = unary('exp')
/** The natural logarithm; −∞ at 0, NaN below. */
export const log = unary('log')
/** −x */
export const negate = unary('negate')
/** 1/x */
export const reciprocal = unary('reciprocal')
/** 1/√x */
export const rsqrt = unary('rsqrt')
/** σ(x) = 1/(1 + e⁻ˣ) */
export const sigmoid = unary('sigmoid')
/** log(1 + eˣ), for any finite x */
export const softplus = unary('softplus')
/** √x */
export const sqrt = unary('sqrt')
/** x² */
export const square = unary('square')
/** tanh x, for any finite x */
export const tanh = unary('tanh')

/** x^exponent, outside the tape. */
function raise<D extends FloatDtype>(x: Tensor<D>, exponent: number): Tensor<D> {
  const { device, size } = x
  const out = device.empty(x.shape, x.dtype)
  const each = eachThread(device.adapter.software)
  device.dispatch(powerKernel({ each, ...halfOf(x) }), { x, out }, { size, exponent })
  return out
}

const powerOp: Op<{ x: F32 }, { exponent: number }, { x: F32 }> = {
  name: 'power',
  forward({ x }, { exponent }) {
    return { out: raise(x, exponent), saved: { x } }
  },
  backward({ gradient: dOut, saved: { x }, attributes: { exponent }, output }) {
    const dX = output('x')
    const { device, size } = dX
    const each = eachThread(device.adapter.software)
    device.dispatch(powerBackwardKernel({ each }), { x, dOut, dX }, { size, exponent })
    return { x: dX }
  },
}

/**
 * x^exponent, elementwise. Whole exponents up to ±1024 take negative x too; for others a negative x
 * gives NaN, and the relative error is about 1e-7 · (1 + |exponent · log x|).
 */
export function power<D extends FloatDtype>(x: Tensor<D>, exponent: number): Tensor<D> {
  expect(Number.isFinite(exponent), 'power', () => `exponent is ${exponent}, expected a number`)
  return inStorage('power', { x }, x.dtype, {
    wide: (wide) => apply(powerOp, wide, { exponent }),
    half: () => raise(x, exponent),
  })
}
