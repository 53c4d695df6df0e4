import type { Unary } from '../../src/kernels/unary.ts'
import { activationGradients, activations, erf } from './activations.ts'

const sigmoid = (x: number): number =>
  x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x))

/** Every function of one number in f64. */
export const unary: Readonly<Record<Unary, (x: number) => number>> = {
  ...activations,
  abs: Math.abs,
  erf,
  exp: Math.exp,
  log: Math.log,
  negate: (x) => -x,
  reciprocal: (x) => 1 / x,
  rsqrt: (x) => 1 / Math.sqrt(x),
  sigmoid,
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  sqrt: Math.sqrt,
  square: (x) => x * x,
  tanh: Math.tanh,
}

/** Their derivatives. */
export const unaryGradients: Readonly<Record<Unary, (x: number) => number>> = {
  ...activationGradients,
  abs: Math.sign,
  erf: (x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x),
  exp: Math.exp,
  log: (x) => 1 / x,
  negate: () => -1,
  reciprocal: (x) => -1 / (x * x),
  rsqrt: (x) => -0.5 / (x * Math.sqrt(x)),
  sigmoid: (x) => sigmoid(x) * sigmoid(-x),
  softplus: sigmoid,
  sqrt: (x) => 0.5 / Math.sqrt(x),
  square: (x) => 2 * x,
  tanh: (x) => 1 - Math.tanh(x) ** 2,
}

/** Whether a function takes positive numbers only. */
export const positiveOnly: ReadonlySet<Unary> = new Set(['log', 'rsqrt', 'sqrt'])
