import type { Activation } from '../../kernels/activations.ts'
import type { Dtype, FloatDtype } from '../dtype.ts'
import { KeeplightError } from '../errors.ts'
import { expect, expectShape } from '../shape.ts'
import { apply, needsGradient, type Op } from '../tape.ts'
import { Tensor } from '../tensor.ts'
import { toF16, toF32 } from './cast.ts'
import { activate, add } from './elementwise.ts'
import { layerScale as scaleByLayer } from './layerScale.ts'
import { expectFrozen, matmulInto } from './matmulInto.ts'
import type { QuantizedWeight } from './quantize.ts'
import { sumRows } from './reduce.ts'

/** A linear layer's weight [out, in]: f32, or frozen as f16 or int8. */
export type LinearWeight = Tensor<FloatDtype> | QuantizedWeight

interface LinearInputs extends Record<string, Tensor | undefined> {
  readonly x: Tensor<FloatDtype>
  readonly weight: Tensor<FloatDtype | 'i8'>
  readonly scales: Tensor<'f32'> | undefined
  readonly bias: Tensor<'f32'> | undefined
  readonly layerScale: Tensor<'f32'> | undefined
  readonly residual: Tensor<FloatDtype> | undefined
}

interface Saved {
  readonly x: Tensor<FloatDtype>
  readonly weight: Tensor<FloatDtype | 'i8'>
  readonly scales: Tensor<'f32'> | undefined
}

/** The layer in one dispatch (two with split k), with the output in `dtype`. */
function forward<D extends FloatDtype>(
  { x, weight, scales, bias, layerScale, residual }: LinearInputs,
  activation: Activation,
  dtype: D,
): Tensor<D> {
  expect(weight.shape.length === 2 && x.shape.at(-1) === weight.shape[1], 'linear', () => {
    return `x ${x.toString()} and weight ${weight.toString()}: expected x [..., in] and weight [out, in]`
  })
  const [n, k] = weight.shape as [number, number]
  const shape = [...x.shape.slice(0, -1), n]
  if (scales) expectShape('linear', 'scales', scales.shape, [n])
  if (bias) expectShape('linear', 'bias', bias.shape, [n])
  if (layerScale) expectShape('linear', 'layerScale', layerScale.shape, [n])
  if (residual) expectShape('linear', 'residual', residual.shape, shape)
  const layout = { transposeA: false, transposeB: true }
  const epilogue = { scales, bias, activation, layerScale, residual }
  const out = x.device.empty(shape, dtype)
  return matmulInto(out, x, weight, layout, { m: x.size / k, n, k }, epilogue)
}

const linearOp: Op<LinearInputs, { activation: Activation }, Saved> = {
  name: 'linear',
  forward(inputs, { activation }) {
    const { x, weight, scales } = inputs
    return { out: forward(inputs, activation, 'f32'), saved: { x, weight, scales } }
  },
  // out = x·Wᵀ + b: dx = dOut·W, dW = dOutᵀ·x, db = Σ rows of dOut.
  backward({ gradient, saved: { x, weight, scales }, wants, output }) {
    const [features, inner] = weight.shape as [number, number]
    const rows = gradient.size / features
    const nn = { transposeA: false, transposeB: false }
    const tn = { transposeA: true, transposeB: false }
    const sizesX = { m: rows, n: inner, k: features }
    const sizesWeight = { m: features, n: inner, k: rows }
    const bias = wants('bias') ? output('bias') : undefined
    // The bias's gradient falls off that of the weight.
    if (bias && !wants('weight')) sumRows(gradient, bias)
    return {
      x: wants('x') ? matmulInto(output('x'), gradient, weight, nn, sizesX, { scales }) : null,
      weight: wants('weight')
        ? matmulInto(output('weight'), gradient, x, tn, sizesWeight, { rowSums: bias })
        : null,
      scales: null,
      bias: bias ?? null,
      layerScale: null,
      residual: wants('residual') ? gradient.view(gradient.shape) : null,
    }
  },
}

export interface LinearOptions<D extends FloatDtype = FloatDtype> {
  readonly activation?: Activation
  /** [out]: multiplies what the activation gives, as DINOv2's LayerScale does. */
  readonly layerScale?: Tensor<'f32'>
  /** Added at the end; of the output's shape and dtype. */
  readonly residual?: Tensor<FloatDtype>
  /** Of the output. Default f32; f16 only where no gradient is asked for. */
  readonly dtype?: D
}

/**
 * activation(x·weightᵀ + bias) · layerScale + residual in one dispatch; with a tape, activation and
 * layerScale are ops of their own. Whatever the dtypes, sums are f32.
 *
 * Gradients flow to x through f16 and int8 weights, which have none themselves.
 *
 * @param x [..., in]
 * @param weight [out, in], as PyTorch stores it; or `quantize()`d
 * @param bias [out]
 * @returns [..., out]
 * @throws KeeplightError `validation` when shapes or dtypes do not fit, a weight that is not f32 (or the
 *   scales of an int8 one) requires a gradient, or an f16 output is to have one
 */
export function linear<D extends FloatDtype = 'f32'>(
  x: Tensor<FloatDtype>,
  weight: LinearWeight,
  bias?: Tensor<'f32'>,
  options?: LinearOptions<D>,
): Tensor<D>
export function linear(
  x: Tensor<FloatDtype>,
  given: LinearWeight,
  bias?: Tensor<'f32'>,
  { activation = 'none', layerScale, residual, dtype = 'f32' }: LinearOptions = {},
): Tensor<FloatDtype> {
  const [weight, scales] =
    given instanceof Tensor ? [given, undefined] : [given.values, given.scales]
  const inputs: LinearInputs = { x, weight, scales, bias, layerScale, residual }
  checkDtypes(inputs, dtype)
  const taped = needsGradient(...Object.values(inputs))
  if (dtype === 'f16') {
    expect(!taped, 'linear', () => {
      return 'an f16 output carries no gradient; leave out dtype, or wrap the call in withoutTape()'
    })
    return half(inputs, activation)
  }
  if (!taped || (activation === 'none' && !layerScale)) {
    return apply(linearOp, inputs, { activation })
  }
  // The gradients of an activation and of its scale need their inputs, which the fused kernel never stores.
  let y = apply(
    linearOp,
    { ...inputs, layerScale: undefined, residual: undefined },
    { activation: 'none' },
  )
  const then = (op: (before: Tensor<'f32'>) => Tensor<'f32'>): void => {
    const before = y
    y = op(before)
    before.dispose()
  }
  if (activation !== 'none') then((z) => activate(z, activation))
  if (layerScale) then((z) => scaleByLayer(z, layerScale))
  if (residual) then((z) => add(z, residual as Tensor<'f32'>))
  return y
}

/** An f16 output: stored by the kernel where the device has f16, else rounded by a cast. */
function half(inputs: LinearInputs, activation: Activation): Tensor<'f16'> {
  Object.values(inputs).forEach((tensor) => tensor?.assertAlive('linear'))
  if (inputs.x.device.has('shader-f16')) return forward(inputs, activation, 'f16')
  const residual = inputs.residual && toF32(inputs.residual as Tensor<'f16'>)
  const wide = forward({ ...inputs, residual }, activation, 'f32')
  residual?.dispose()
  const out = toF16(wide)
  wide.dispose()
  return out
}

function checkDtypes(
  { x, weight, scales, bias, layerScale, residual }: LinearInputs,
  dtype: FloatDtype,
): void {
  const check = (name: string, tensor: Tensor | undefined, ...allowed: readonly Dtype[]): void =>
    expect(tensor === undefined || allowed.includes(tensor.dtype), 'linear', () => {
      return `${name} is ${tensor!.toString()}, expected ${allowed.join(' or ')}`
    })
  check('x', x, 'f32', 'f16')
  if (scales) check('weight.values', weight, 'i8')
  else if (weight.dtype === 'i8') {
    throw new KeeplightError(
      'validation',
      `linear: weight ${weight.toString()} has no scales; give { values, scales } as quantize() does`,
    )
  } else check('weight', weight, 'f32', 'f16')
  check('weight.scales', scales, 'f32')
  check('bias', bias, 'f32')
  check('layerScale', layerScale, 'f32')
  check('residual of this output', residual, dtype)
  expectFrozen('linear', 'x', x)
  expectFrozen('linear', 'weight', weight)
  expect(!scales?.requiresGrad, 'linear', () => {
    return 'the scales of an int8 weight require a gradient, and have none; train the weight in f32'
  })
}
