/** Ops that treat every element alike. */
export { add, divide, maximum, minimum, multiply, subtract } from './binary.ts'
export { reshape } from './reshape.ts'
export { scale } from './scale.ts'
export {
  abs,
  activate,
  erf,
  exp,
  gelu,
  log,
  negate,
  power,
  quickGelu,
  reciprocal,
  relu,
  rsqrt,
  sigmoid,
  silu,
  softplus,
  sqrt,
  square,
  tanh,
} from './unary.ts'
