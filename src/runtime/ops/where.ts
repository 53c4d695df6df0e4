import { eachThread } from '../../kernels/elementwise.ts'
import { whereBackwardKernel, whereKernel, type ConditionType } from '../../kernels/where.ts'
import { broadcastShape, planBroadcast, repeatedAxes } from '../broadcast.ts'
import { expect, type Shape } from '../shape.ts'
import { apply, type Op } from '../tape.ts'
import type { Tensor } from '../tensor.ts'
import { sumAxes } from './reduce.ts'

type F32 = Tensor<'f32'>
type Condition = Tensor<'f32'> | Tensor<'u32'>

interface Operands extends Record<string, Tensor | undefined> {
  readonly condition: Condition
  readonly a: F32
  readonly b: F32
}

type Shapes = Readonly<Record<'condition' | 'a' | 'b', Shape>>

const whereOp: Op<Operands, Shapes, { condition: Condition }> = {
  name: 'where',
  forward({ condition, a, b }, shapes) {
    const { device } = a
    const shape = outShape(shapes)
    const out = device.empty(shape)
    const { spreads, params } = planBroadcast('where', shapes, shape)
    const each = eachThread(device.adapter.software)
    const kernel = whereKernel({ type: condition.dtype as ConditionType, ...spreads, each })
    device.dispatch(kernel, { condition, a, b, out }, { size: out.size, ...params })
    return { out, saved: { condition } }
  },
  backward({ gradient: g, saved: { condition }, attributes: shapes, wants, output }) {
    const { device } = g
    const gradientOf = (of: 'a' | 'b'): F32 | null => {
      if (!wants(of)) return null
      const axes = repeatedAxes(shapes[of], g.shape)
      const d = axes.length > 0 ? device.empty(g.shape) : output(of)
      const { spreads, params } = planBroadcast('where', { condition: shapes.condition }, g.shape)
      const type = condition.dtype as ConditionType
      const each = eachThread(device.adapter.software)
      const kernel = whereBackwardKernel({ type, ...spreads, each, of })
      device.dispatch(kernel, { condition, g, d }, { size: g.size, ...params })
      if (axes.length === 0) return d
      const sum = sumAxes(d, axes, output(of))
      d.dispose()
      return sum
    }
    return { condition: null, a: gradientOf('a'), b: gradientOf('b') }
  },
}

const outShape = ({ condition, a, b }: Shapes): Shape =>
  broadcastShape('where', condition, broadcastShape('where', a, b), ['condition', 'the result'])

/**
 * a where the condition holds and b elsewhere. Shapes broadcast as NumPy's; gradients flow to a and b,
 * each where it was taken.
 *
 * @param condition f32 or u32; all but 0 holds, NaN too
 */
export function where(condition: Condition, a: F32, b: F32): F32 {
  const { dtype } = condition
  expect(dtype === 'f32' || dtype === 'u32', 'where', () => {
    return `condition is ${condition.toString()}, expected f32 or u32`
  })
  for (const [name, operand] of Object.entries({ a, b })) {
    expect(operand.dtype === 'f32', 'where', () => `${name} is ${operand.toString()}, expected f32`)
  }
  const shapes = { condition: condition.shape, a: a.shape, b: b.shape }
  return apply(whereOp, { condition, a, b }, shapes)
}
