import { mapKernel, type Each, type Spread } from './elementwise.ts'
import { kernelFamily } from './kernel.ts'

export type ConditionType = 'f32' | 'u32'

interface WhereOptions {
  readonly type: ConditionType
  readonly condition: Spread
  readonly each: Each
}

/** Whether a condition holds: all but 0 and −0 do, NaN too; by its bits, as compilers may ignore NaN. */
const holds = (type: ConditionType): string =>
  type === 'u32' ? 'condition != 0u' : '(bitcast<u32>(condition) << 1u) != 0u'

const integersOf = (type: ConditionType): readonly string[] => (type === 'u32' ? ['condition'] : [])

/** out = a where the condition holds, b elsewhere; each spread over the output. */
export const whereKernel = kernelFamily(
  ({ type, condition, a, b, each }: WhereOptions & { readonly a: Spread; readonly b: Spread }) =>
    mapKernel({
      label: `where.${type}.${condition}.${a}.${b}.${each}`,
      inputs: { condition, a, b },
      integers: integersOf(type),
      expression: `select(b, a, ${holds(type)})`,
      each,
    }),
)

/** d = the gradient of one operand at every element of the output, before sums over what it repeats. */
export const whereBackwardKernel = kernelFamily(
  ({ type, condition, each, of }: WhereOptions & { readonly of: 'a' | 'b' }) =>
    mapKernel({
      label: `where.backward.${of}.${type}.${condition}.${each}`,
      inputs: { condition, g: 'whole' },
      integers: integersOf(type),
      output: 'd',
      expression: of === 'a' ? `select(0.0, g, ${holds(type)})` : `select(g, 0.0, ${holds(type)})`,
      each,
    }),
)
