import type { Activation } from '../../kernels/activations.ts'
import { matmulKernel } from '../../kernels/matmul.ts'
import { expect, expectShape, type Shape } from '../shape.ts'
import { apply, needsGradient, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { activate, add } from './elementwise.ts'
import { isLarge, multiplyInParts } from './largeMatmul.ts'
import { sumRows } from './reduce.ts'

interface Layout {
  readonly transposeA: boolean
  readonly transposeB: boolean
}

interface Epilogue {
  readonly bias?: Tensor<'f32'> | undefined
  readonly activation?: Activation
  readonly residual?: Tensor<'f32'> | undefined
}

/** Dispatches out = activate(op(a)·op(b) + bias) + residual into `out`, whose last dimension is n. */
function multiplyInto(
  out: Tensor<'f32'>,
  a: Tensor<'f32'>,
  b: Tensor<'f32'>,
  layout: Layout,
  inner: number,
  { bias, activation = 'none', residual }: Epilogue = {},
): Tensor<'f32'> {
  const { device } = out
  const n = out.shape.at(-1)!
  const m = out.size / n
  const product = { out, a, b, ...layout, m, n, k: inner, bias, activation, residual }
  if (isLarge(product)) {
    multiplyInParts(product, ({ out, a, b, k, ...rest }) => {
      multiplyInto(out, a, b, layout, k, rest)
    })
    return out
  }
  const variant = device.kernelVariant
  const kernel = matmulKernel({
    ...layout,
    bias: bias !== undefined,
    activation,
    residual: residual !== undefined,
    variant,
  })
  // The kernel binds bias and residual only when its options say so.
  const unused = out
  device.dispatch(
    kernel,
    { a, b, bias: bias ?? unused, residual: residual ?? unused, out },
    { m, n, k: inner },
  )
  return out
}

const matmulOp: Op<
  { a: Tensor<'f32'>; b: Tensor<'f32'> },
  Layout,
  { a: Tensor<'f32'>; b: Tensor<'f32'> }
> = {
  name: 'matmul',
  forward({ a, b }, layout) {
    const [m, k] = oriented('a', a.shape, layout.transposeA)
    const [inner, n] = oriented('b', b.shape, layout.transposeB)
    expect(k === inner, 'matmul', () => {
      return `a ${a.toString()} has inner size ${k}, b ${b.toString()} has ${inner}; expected equal`
    })
    const out = multiplyInto(a.device.empty([m, n]), a, b, layout, k)
    return { out, saved: { a, b } }
  },
  // out = A·B: dA = dOut·Bᵀ, dB = Aᵀ·dOut, each transposed when the operand was.
  backward({ gradient, saved: { a, b }, attributes: { transposeA, transposeB }, wants, output }) {
    const [m, n] = gradient.shape as [number, number]
    const nt = (transpose: boolean): Layout => ({ transposeA: transpose, transposeB: true })
    return {
      a: !wants('a')
        ? null
        : transposeA
          ? multiplyInto(output('a'), b, gradient, nt(transposeB), n)
          : multiplyInto(
              output('a'),
              gradient,
              b,
              { transposeA: false, transposeB: !transposeB },
              n,
            ),
      b: !wants('b')
        ? null
        : transposeB
          ? multiplyInto(output('b'), gradient, a, { transposeA: true, transposeB: transposeA }, m)
          : multiplyInto(
              output('b'),
              a,
              gradient,
              { transposeA: !transposeA, transposeB: false },
              m,
            ),
    }
  },
}

function oriented(name: string, shape: Shape, transposed: boolean): [number, number] {
  expect(shape.length === 2, 'matmul', () => `${name} has ${shape.length} dimensions, expected 2`)
  const [rows, columns] = shape as [number, number]
  return transposed ? [columns, rows] : [rows, columns]
}

/**
 * op(a)·op(b): [m, k]·[k, n] → [m, n], where `transposeA` and `transposeB` say that the operand is
 * stored the other way round.
 */
export function matmul(
  a: Tensor<'f32'>,
  b: Tensor<'f32'>,
  { transposeA = false, transposeB = false }: Partial<Layout> = {},
): Tensor<'f32'> {
  return apply(matmulOp, { a, b }, { transposeA, transposeB })
}

interface LinearInputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<'f32'>
  readonly weight: Tensor<'f32'>
  readonly bias: Tensor<'f32'> | undefined
  readonly residual: Tensor<'f32'> | undefined
}

const linearOp: Op<
  LinearInputs,
  { activation: Activation },
  { x: Tensor<'f32'>; weight: Tensor<'f32'> }
> = {
  name: 'linear',
  forward({ x, weight, bias, residual }, { activation }) {
    expect(weight.shape.length === 2 && x.shape.at(-1) === weight.shape[1], 'linear', () => {
      return `x ${x.toString()} and weight ${weight.toString()}: expected x [..., in] and weight [out, in]`
    })
    const [features, inner] = weight.shape as [number, number]
    const shape = [...x.shape.slice(0, -1), features]
    if (bias) expectShape('linear', 'bias', bias.shape, [features])
    if (residual) expectShape('linear', 'residual', residual.shape, shape)
    const layout = { transposeA: false, transposeB: true }
    const epilogue = { bias, activation, residual }
    const out = multiplyInto(x.device.empty(shape), x, weight, layout, inner, epilogue)
    return { out, saved: { x, weight } }
  },
  // out = x·Wᵀ + b: dx = dOut·W, dW = dOutᵀ·x, db = Σ rows of dOut.
  backward({ gradient, saved: { x, weight }, wants, output }) {
    const [features] = weight.shape as [number, number]
    const rows = gradient.size / features
    const nn = { transposeA: false, transposeB: false }
    const tn = { transposeA: true, transposeB: false }
    return {
      x: wants('x') ? multiplyInto(output('x'), gradient, weight, nn, features) : null,
      weight: wants('weight') ? multiplyInto(output('weight'), gradient, x, tn, rows) : null,
      bias: wants('bias') ? sumRows(gradient, output('bias')) : null,
      residual: wants('residual') ? gradient.view(gradient.shape) : null,
    }
  },
}

export interface LinearOptions {
  readonly activation?: Activation
  /** Added after the activation; of the output's shape. */
  readonly residual?: Tensor<'f32'>
}

/**
 * activation(x·weightᵀ + bias) + residual in one dispatch; with a tape, the activation is an op of its own.
 *
 * @param x [..., in]
 * @param weight [out, in], as PyTorch stores it
 * @param bias [out]
 * @returns [..., out]
 */
export function linear(
  x: Tensor<'f32'>,
  weight: Tensor<'f32'>,
  bias?: Tensor<'f32'>,
  { activation = 'none', residual }: LinearOptions = {},
): Tensor<'f32'> {
  if (activation === 'none' || !needsGradient(x, weight, bias, residual)) {
    return apply(linearOp, { x, weight, bias, residual }, { activation })
  }
  // The gradient of an activation needs its input, which the fused kernel never stores.
  const z = apply(linearOp, { x, weight, bias, residual: undefined }, { activation: 'none' })
  const y = activate(z, activation)
  z.dispose()
  if (!residual) return y
  const out = add(y, residual)
  y.dispose()
  return out
}
