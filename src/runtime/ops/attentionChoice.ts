import type { AttentionSize } from '../../kernels/attentionLayout.ts'
import type { KernelChoice } from '../choice.ts'

/** What the choice of an attention kernel depends on. */
export interface AttentionProblem extends AttentionSize {
  readonly causal: boolean
}

/** Which attention kernel runs a problem: by rule the adapter's own kind. */
export const attentionChoice: KernelChoice<AttentionProblem> = {
  family: 'attention',
  key({ batches, heads, tokens, headSize, causal }) {
    const slices = 2 ** Math.ceil(Math.log2(batches * heads))
    return `d${headSize}${causal ? ' causal' : ''} ${slices}×${Math.ceil(tokens / 16) * 16}`
  },
  candidates: (_, { kernelVariant }) =>
    kernelVariant === 'tile' ? ['tile'] : ['tile', kernelVariant],
  rule: (_, { kernelVariant }) => kernelVariant,
}
