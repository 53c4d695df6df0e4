import { binaryBackwardKernel, binaryKernel, type Binary } from '../../kernels/binary.ts'
import { eachThread } from '../../kernels/elementwise.ts'
import { broadcastShape, planBroadcast, repeatedAxes } from '../broadcast.ts'
import type { FloatDtype } from '../dtype.ts'
import type { Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { inStorage, type Promoted } from './half.ts'
import { sumAxes } from './reduce.ts'

type F32 = Tensor<'f32'>

interface Pair extends Record<string, F32 | undefined> {
  readonly a: F32
  readonly b: F32
}

type Shapes = Readonly<Record<'a' | 'b', Shape>>

/** Operands of a sum are not needed for its gradient. */
const linear = (name: Binary): name is 'add' | 'subtract' => name === 'add' || name === 'subtract'

const binaryOp = (name: Binary): Op<Pair, Shapes, Partial<Pair>> => ({
  name,
  forward({ a, b }) {
    const out = combine(name, a, b, 'f32')
    return { out, saved: linear(name) ? {} : { a, b } }
  },
  backward({ gradient: g, saved: { a, b }, attributes: shapes, wants, output }) {
    const gradientOf = (of: 'a' | 'b'): F32 | null => {
      if (!wants(of)) return null
      const axes = repeatedAxes(shapes[of], g.shape)
      // Σ ±dOut: no gradient at every element is needed first.
      if (linear(name)) {
        const factor = of === 'b' && name === 'subtract' ? -1 : 1
        if (axes.length > 0 || factor === -1) return sumAxes(g, axes, output(of), factor)
        return g.view(shapes[of])
      }
      const d = axes.length > 0 ? g.device.empty(g.shape) : output(of)
      const { spreads, params } = planBroadcast(name, shapes, g.shape)
      const each = eachThread(g.device.adapter.software)
      const kernel = binaryBackwardKernel({ name, ...spreads, each, of })
      g.device.dispatch(kernel, { a: a!, b: b!, g, d }, { size: g.size, ...params })
      if (axes.length === 0) return d
      const sum = sumAxes(d, axes, output(of))
      d.dispose()
      return sum
    }
    return { a: gradientOf('a'), b: gradientOf('b') }
  },
})

/** f(a, b), broadcast; outside the tape. */
function combine<D extends FloatDtype>(
  name: Binary,
  a: Tensor<FloatDtype>,
  b: Tensor<FloatDtype>,
  dtype: D,
): Tensor<D> {
  const out = a.device.empty(broadcastShape(name, a.shape, b.shape), dtype)
  const { spreads, params } = planBroadcast(name, { a: a.shape, b: b.shape }, out.shape)
  const each = eachThread(out.device.adapter.software)
  const tensors = { a, b, out }
  const halves = (['a', 'b', 'out'] as const).filter((key) => tensors[key].dtype === 'f16')
  const kernel = binaryKernel({ name, ...spreads, each, ...(halves.length > 0 && { halves }) })
  out.device.dispatch(kernel, tensors, { size: out.size, ...params })
  return out
}

type BinaryFunction = <A extends FloatDtype, B extends FloatDtype>(
  a: Tensor<A>,
  b: Tensor<B>,
) => Tensor<Promoted<A, B>>

/** A function of two elements, f32 or f16; the result is f16 where both are. */
const binary = (name: Binary): BinaryFunction => {
  const op = binaryOp(name)
  return <A extends FloatDtype, B extends FloatDtype>(a: Tensor<A>, b: Tensor<B>) => {
    const dtype = (a.dtype === 'f16' ? b.dtype : 'f32') as Promoted<A, B>
    return inStorage(name, { a, b } as Record<'a' | 'b', Tensor<FloatDtype>>, dtype, {
      wide: (wide) => apply(op, wide, { a: a.shape, b: b.shape }),
      half: () => combine(name, a, b, dtype),
    })
  }
}

/**
 * a + b. Shapes broadcast as NumPy's, for this and the ops below: aligned at their last dimensions, a
 * size of 1 or a missing dimension repeats, and its gradient is the sum over what it repeats along.
 */
export const add = binary('add')
/** a − b, broadcast. */
export const subtract = binary('subtract')
/** a · b elementwise, broadcast. */
export const multiply = binary('multiply')
/** a / b elementwise, broadcast. */
export const divide = binary('divide')
/** The larger of a and b, NaN if either is; where they are equal, each gets half of the gradient. */
export const maximum = binary('maximum')
/** The smaller of a and b; see {@link maximum}. */
export const minimum = binary('minimum')
