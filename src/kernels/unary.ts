import { activationWgsl, type Activation } from './activations.ts'
import { mapKernel, type Each } from './elementwise.ts'
import { erfWgsl, expWgsl, logWgsl, powerWgsl } from './functions.ts'
import { sigmoidWgsl, softplusWgsl, tanhWgsl } from './functions.ts'
import { kernelFamily, type Kernel } from './kernel.ts'

/** Functions of one number. */
export type Unary =
  | Activation
  | 'abs'
  | 'erf'
  | 'exp'
  | 'log'
  | 'negate'
  | 'reciprocal'
  | 'rsqrt'
  | 'sigmoid'
  | 'softplus'
  | 'sqrt'
  | 'square'
  | 'tanh'

export interface UnaryFunction {
  /** WGSL functions that the expressions call. */
  readonly helpers?: string
  /** y by x. */
  readonly forward: string
  /** What the derivative is written in, and what the op keeps for it: its input x or its output y. */
  readonly saves: 'x' | 'y'
  /** dy/dx by x or by y. */
  readonly derivative: string
}

const activation = (name: Activation): UnaryFunction => ({
  helpers: activationWgsl(name),
  forward: 'activate(x)',
  saves: 'x',
  derivative: 'activateGradient(x)',
})

/** Every function with its derivative beside it. */
export const unaryFunctions: Readonly<Record<Unary, UnaryFunction>> = {
  none: activation('none'),
  relu: activation('relu'),
  gelu: activation('gelu'),
  quickGelu: activation('quickGelu'),
  silu: activation('silu'),
  // As PyTorch: 0 at 0.
  abs: { forward: 'abs(x)', saves: 'x', derivative: 'sign(x)' },
  erf: {
    helpers: `${expWgsl}${erfWgsl}`,
    forward: 'preciseErf(x)',
    saves: 'x',
    // Past 10 it is 0, and x² might overflow.
    derivative: 'select(1.1283791670955126 * preciseExp(-x * x), 0.0, abs(x) > 10.0)',
  },
  exp: { helpers: expWgsl, forward: 'preciseExp(x)', saves: 'y', derivative: 'y' },
  log: { helpers: logWgsl, forward: 'preciseLog(x)', saves: 'x', derivative: '1.0 / x' },
  negate: { forward: '-x', saves: 'x', derivative: '-1.0' },
  reciprocal: { forward: '1.0 / x', saves: 'y', derivative: '-y * y' },
  rsqrt: { forward: 'inverseSqrt(x)', saves: 'y', derivative: '-0.5 * y * y * y' },
  sigmoid: {
    helpers: sigmoidWgsl,
    forward: 'preciseSigmoid(x)',
    saves: 'y',
    derivative: 'y * (1.0 - y)',
  },
  softplus: {
    helpers: softplusWgsl,
    forward: 'preciseSoftplus(x)',
    saves: 'x',
    derivative: 'preciseSigmoid(x)',
  },
  sqrt: { forward: 'sqrt(x)', saves: 'y', derivative: '0.5 / y' },
  square: { forward: 'x * x', saves: 'x', derivative: '2.0 * x' },
  tanh: {
    helpers: tanhWgsl,
    forward: 'preciseTanh(x)',
    saves: 'y',
    derivative: '(1.0 - y) * (1.0 + y)',
  },
}

interface UnaryOptions {
  readonly name: Unary
  readonly each: Each
}

/** Whether input and output are stored as f16; forward only. */
interface Half {
  readonly half?: boolean
}

const suffix = ({ each, half }: Half & { readonly each: Each }): string =>
  `${each}${half ? '.f16' : ''}`

/** out = f(x) */
export const unaryKernel = kernelFamily((options: UnaryOptions & Half) => {
  const { name, each, half } = options
  const { helpers, forward } = unaryFunctions[name]
  return mapKernel({
    label: `${name}.${suffix(options)}`,
    inputs: { x: 'whole' },
    halves: half ? ['x', 'out'] : [],
    helpers,
    expression: forward,
    each,
  }) as Kernel<'x' | 'out', 'size'>
})

/** dX = dOut · f'; `saved` is x or f(x), as the table says. */
export const unaryBackwardKernel = kernelFamily(({ name, each }: UnaryOptions) => {
  const { helpers = '', saves, derivative } = unaryFunctions[name]
  return mapKernel({
    label: `${name}.backward.${each}`,
    inputs: { saved: 'whole', dOut: 'whole' },
    output: 'dX',
    helpers: `${helpers}fn derivative(${saves}: f32) -> f32 { return ${derivative}; }`,
    expression: 'dOut * derivative(saved)',
    each,
  }) as Kernel<'saved' | 'dOut' | 'dX', 'size'>
})

/** out = x^exponent */
export const powerKernel = kernelFamily(
  ({ each, half }: Half & { readonly each: Each }) =>
    mapKernel({
      label: `power.${suffix({ each, half })}`,
      inputs: { x: 'whole' },
      halves: half ? ['x', 'out'] : [],
      params: { exponent: 'f32' },
      helpers: powerWgsl,
      expression: 'power(x, params.exponent)',
      each,
    }) as Kernel<'x' | 'out', 'size' | 'exponent'>,
)

/** dX = dOut · exponent · x^(exponent − 1) */
export const powerBackwardKernel = kernelFamily(
  ({ each }: { readonly each: Each }) =>
    mapKernel({
      label: `power.backward.${each}`,
      inputs: { x: 'whole', dOut: 'whole' },
      output: 'dX',
      params: { exponent: 'f32' },
      helpers: powerWgsl,
      expression: 'dOut * params.exponent * power(x, params.exponent - 1.0)',
      each,
    }) as Kernel<'x' | 'dOut' | 'dX', 'size' | 'exponent'>,
)
