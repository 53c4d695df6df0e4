import type { Activation } from '../../kernels/activations.ts'
import {
  activationBackwardKernel,
  activationKernel,
  addKernel,
  multiplyKernel,
  scaleKernel,
} from '../../kernels/elementwise.ts'
import { expectShape, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'

const activationOp: Op<{ x: Tensor<'f32'> }, { activation: Activation }, { x: Tensor }> = {
  name: 'activation',
  forward({ x }, { activation }) {
    const out = x.device.empty(x.shape)
    x.device.dispatch(activationKernel(activation), { x, out }, { size: x.size })
    return { out, saved: { x } }
  },
  backward({ gradient, saved: { x }, attributes: { activation }, output }) {
    const dX = output('x')
    const kernel = activationBackwardKernel(activation)
    x.device.dispatch(kernel, { x, dOut: gradient, dX }, { size: x.size })
    return { x: dX }
  },
}

/** activation(x), elementwise. */
export const activate = (x: Tensor<'f32'>, activation: Activation): Tensor<'f32'> =>
  apply(activationOp, { x }, { activation })

export const relu = (x: Tensor<'f32'>): Tensor<'f32'> => activate(x, 'relu')
/** GELU by erf: x·Φ(x). */
export const gelu = (x: Tensor<'f32'>): Tensor<'f32'> => activate(x, 'gelu')
/** x·σ(1.702 x), CLIP's approximation of GELU. */
export const quickGelu = (x: Tensor<'f32'>): Tensor<'f32'> => activate(x, 'quickGelu')
/** x·σ(x) */
export const silu = (x: Tensor<'f32'>): Tensor<'f32'> => activate(x, 'silu')

interface Pair extends Record<string, Tensor | undefined> {
  readonly a: Tensor<'f32'>
  readonly b: Tensor<'f32'>
}

const addOp: Op<Pair, undefined, undefined> = {
  name: 'add',
  forward({ a, b }) {
    expectShape('add', 'b', b.shape, a.shape)
    const out = a.device.empty(a.shape)
    a.device.dispatch(addKernel, { a, b, out }, { size: a.size, period: a.size })
    return { out, saved: undefined }
  },
  backward({ gradient, wants }) {
    const pass = (name: 'a' | 'b'): Tensor<'f32'> | null =>
      wants(name) ? gradient.view(gradient.shape) : null
    return { a: pass('a'), b: pass('b') }
  },
}

/** a + b, of equal shapes. */
export const add = (a: Tensor<'f32'>, b: Tensor<'f32'>): Tensor<'f32'> =>
  apply(addOp, { a, b }, undefined)

const multiplyOp: Op<Pair, undefined, { a: Tensor<'f32'>; b: Tensor<'f32'> }> = {
  name: 'multiply',
  forward({ a, b }) {
    expectShape('multiply', 'b', b.shape, a.shape)
    return { out: product(a, b, a.device.empty(a.shape)), saved: { a, b } }
  },
  backward({ gradient, saved: { a, b }, wants, output }) {
    return {
      a: wants('a') ? product(gradient, b, output('a')) : null,
      b: wants('b') ? product(gradient, a, output('b')) : null,
    }
  },
}

function product(a: Tensor<'f32'>, b: Tensor<'f32'>, out: Tensor<'f32'>): Tensor<'f32'> {
  out.device.dispatch(multiplyKernel, { a, b, out }, { size: out.size })
  return out
}

/** a · b elementwise, of equal shapes. */
export const multiply = (a: Tensor<'f32'>, b: Tensor<'f32'>): Tensor<'f32'> =>
  apply(multiplyOp, { a, b }, undefined)

const scaleOp: Op<{ x: Tensor<'f32'> }, { factor: number }, undefined> = {
  name: 'scale',
  forward({ x }, { factor }) {
    return { out: scaled(x, factor, x.device.empty(x.shape)), saved: undefined }
  },
  backward({ gradient, attributes: { factor }, output }) {
    return { x: scaled(gradient, factor, output('x')) }
  },
}

function scaled(x: Tensor<'f32'>, factor: number, out: Tensor<'f32'>): Tensor<'f32'> {
  x.device.dispatch(scaleKernel, { x, out }, { size: x.size, scale: factor })
  return out
}

/** factor · x */
export const scale = (x: Tensor<'f32'>, factor: number): Tensor<'f32'> =>
  apply(scaleOp, { x }, { factor })

const reshapeOp: Op<{ x: Tensor<'f32'> }, { shape: Shape; from: Shape }, undefined> = {
  name: 'reshape',
  forward: ({ x }, { shape }) => ({ out: x.view(shape), saved: undefined }),
  backward: ({ gradient, attributes: { from } }) => ({ x: gradient.view(from) }),
}

/** The same values under another shape of the same size; no copy. */
export const reshape = (x: Tensor<'f32'>, shape: Shape): Tensor<'f32'> =>
  apply(reshapeOp, { x }, { shape, from: x.shape })
