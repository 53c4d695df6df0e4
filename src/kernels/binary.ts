import { mapKernel, type Each, type Spread } from './elementwise.ts'
import { isNanWgsl } from './functions.ts'
import { kernelFamily } from './kernel.ts'

/** Functions of two numbers. */
export type Binary = 'add' | 'subtract' | 'multiply' | 'divide' | 'maximum' | 'minimum'

export interface BinaryFunction {
  readonly helpers?: string
  /** The value by a and b. */
  readonly forward: string
  /** Gradients of a and b by a, b and g, the gradient of the value. */
  readonly a: string
  readonly b: string
}

/** The larger or smaller of two, NaN if either is; the gradient of equals is halved, as PyTorch does. */
const extremum = (sign: '>' | '<'): BinaryFunction => ({
  helpers: isNanWgsl,
  // With a NaN for b, the comparison is false and leaves b.
  forward: `select(select(b, a, a ${sign} b), a, isNan(a))`,
  a: `select(select(0.0, g, a ${sign} b), 0.5 * g, a == b)`,
  b: `select(select(0.0, g, b ${sign} a), 0.5 * g, a == b)`,
})

/** Every function with its gradients beside it. */
export const binaryFunctions: Readonly<Record<Binary, BinaryFunction>> = {
  add: { forward: 'a + b', a: 'g', b: 'g' },
  subtract: { forward: 'a - b', a: 'g', b: '-g' },
  multiply: { forward: 'a * b', a: 'g * b', b: 'g * a' },
  divide: { forward: 'a / b', a: 'g / b', b: '-g * (a / b) / b' },
  maximum: extremum('>'),
  minimum: extremum('<'),
}

interface BinaryOptions {
  readonly name: Binary
  readonly a: Spread
  readonly b: Spread
  readonly each: Each
  /** What is stored as f16; forward only. */
  readonly halves?: readonly ('a' | 'b' | 'out')[]
}

const suffix = ({ a, b, each, halves = [] }: BinaryOptions): string =>
  [a, b, each, ...(halves.length > 0 ? [`f16(${halves.join()})`] : [])].join('.')

/** out = f(a, b), each operand spread over the output. */
export const binaryKernel = kernelFamily((options: BinaryOptions) => {
  const { name, a, b, each, halves } = options
  const { helpers, forward } = binaryFunctions[name]
  return mapKernel({
    label: `${name}.${suffix(options)}`,
    inputs: { a, b },
    halves,
    helpers,
    expression: forward,
    each,
  })
})

/** d = the gradient of one operand at every element of the output, before sums over what it repeats. */
export const binaryBackwardKernel = kernelFamily(
  ({ of, ...options }: BinaryOptions & { readonly of: 'a' | 'b' }) => {
    const { name, a, b, each } = options
    const { helpers = '', [of]: gradient } = binaryFunctions[name]
    return mapKernel({
      label: `${name}.backward.${of}.${suffix(options)}`,
      inputs: { a, b, g: 'whole' },
      output: 'd',
      helpers,
      expression: gradient,
      each,
    })
  },
)
