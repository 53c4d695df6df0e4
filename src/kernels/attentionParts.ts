import type { AttentionBinding, AttentionOptions } from './attention.ts'
import { perBatch } from './attentionLayout.ts'
import { read, readWrite, type Binding } from './kernel.ts'
import { lines } from './template.ts'

/** What the variants of attention share. */

export const label = ({ headSize, causal, logSumExp, variant, half }: AttentionOptions): string =>
  [
    'attention',
    `d${headSize}`,
    ...(causal ? ['causal'] : []),
    ...(logSumExp ? ['lse'] : []),
    ...(half ? ['f16'] : []),
    variant,
  ].join('.')

export function bindings(options: AttentionOptions): Record<AttentionBinding, Binding> {
  const { logSumExp } = options
  const type = stored(options)
  return {
    q: read(type),
    k: read(type),
    v: read(type),
    out: readWrite(type),
    ...(logSumExp ? { lse: readWrite('f32') } : {}),
  } as Record<AttentionBinding, Binding>
}

/** The type of four elements of q, k, v and out as they are stored. */
export const stored = ({ half }: AttentionOptions): 'vec4<f16>' | 'vec4<f32>' =>
  half ? 'vec4<f16>' : 'vec4<f32>'

/** Stands for −∞, which WGSL has no constant for; exp of it is 0. */
export const MASKED = '-1e30'

/**
 * Reduces as many registers as a subgroup has lanes: lane i of `names[0]` becomes the reduction of
 * `names[i]` over all lanes. On software drivers much cheaper than
 * a reduction each.
 */
export function transposedReduction(
  names: readonly string[],
  op: (a: string, b: string) => string,
): string {
  const steps: string[] = []
  for (let bit = 1; bit < names.length; bit *= 2) {
    for (let i = 0; i < names.length; i += 2 * bit) {
      const [a, b] = [names[i]!, names[i + bit]!]
      const odd = `(lane & ${bit}u) != 0u`
      const other = `subgroupShuffle(select(${b}, ${a}, ${odd}), lane ^ ${bit}u)`
      steps.push(`    ${a} = ${op(`select(${a}, ${b}, ${odd})`, other)};`)
    }
  }
  return lines(steps)
}

/** Too large for a binding, it is cut between the images of a batch. */
export const splits = [
  {
    along: 'batches',
    per: {
      q: perBatch.in,
      k: perBatch.in,
      v: perBatch.in,
      out: perBatch.out,
      lse: perBatch.query,
    },
  },
] as const
