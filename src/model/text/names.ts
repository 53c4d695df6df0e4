import { KeeplightError } from '../../runtime/errors.ts'
import {
  CheckpointReader,
  hostWeights,
  type BlockNames,
  type BlockWeights,
  type Checkpoint,
  type CheckpointIndex,
  type HostLeaves,
  type Leaves,
  type NormWeights,
  type ProjectionName,
  type SlotLeaves,
} from '../checkpoint.ts'

/** Sizes of CLIP's text tower; all the rest is the same in every published model. */
export interface TextConfig {
  /** Tokens of the vocabulary; the last is the end token. */
  readonly vocabulary: number
  /** Tokens of a text at most. */
  readonly context: number
  /** Width of a token. */
  readonly hiddenSize: number
  readonly layers: number
  readonly heads: number
  readonly mlpSize: number
  /** Size of the projected feature. */
  readonly projection: number
}

/** A text tower's weights, whatever the file called them; by default host arrays, f32, row-major. */
export interface TextWeights<L extends Leaves = HostLeaves> {
  /** [vocabulary, D] */
  readonly tokens: L['plain']
  /** [context, D] */
  readonly positions: L['plain']
  readonly blocks: readonly BlockWeights<L>[]
  readonly finalNorm: NormWeights<L>
  /** [E, D] */
  readonly projection: L['matrix']
  /** [1]: natural logarithm of the factor that turns cosines into logits; a text tower alone lacks it. */
  readonly logitScale: L['host'] | undefined
}

interface NamingScheme extends BlockNames {
  readonly label: string
  /** How the names of its tensors begin; others in the file belong to something else. */
  readonly own: readonly string[]
  readonly tokens: string
  readonly positions: string
  readonly finalNorm: string
  /** One of these. */
  readonly projections: readonly ProjectionName[]
}

const schemes: readonly NamingScheme[] = [
  {
    label: 'OpenAI CLIP',
    own: ['transformer.', 'token_embedding.', 'ln_final.'],
    tokens: 'token_embedding.weight',
    positions: 'positional_embedding',
    block: 'transformer.resblocks.N',
    norm1: 'ln_1',
    norm2: 'ln_2',
    qkv: { fused: 'attn.in_proj_' },
    out: 'attn.out_proj',
    fc1: 'mlp.c_fc',
    fc2: 'mlp.c_proj',
    finalNorm: 'ln_final',
    // OpenCLIP may make a linear layer of it, as Hugging Face does.
    projections: [
      { name: 'text_projection', transposed: true },
      { name: 'text_projection.weight', transposed: false },
    ],
  },
  {
    label: 'Hugging Face CLIP',
    own: ['text_model.', 'text_projection.'],
    tokens: 'text_model.embeddings.token_embedding.weight',
    positions: 'text_model.embeddings.position_embedding.weight',
    block: 'text_model.encoder.layers.N',
    norm1: 'layer_norm1',
    norm2: 'layer_norm2',
    qkv: { parts: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'] },
    out: 'self_attn.out_proj',
    fc1: 'mlp.fc1',
    fc2: 'mlp.fc2',
    finalNorm: 'text_model.final_layer_norm',
    projections: [{ name: 'text_projection.weight', transposed: false }],
  },
]

/** In files of text towers, and no part of what they compute. */
const IGNORED = /(position_ids|attn_mask)$/

/** What wrappers put before the names; `text.` is OpenCLIP's, where it has the tower apart. */
const PREFIX = /^(?:(?:module|model|clip|text)\.)*$/

/** A text tower found in a checkpoint; its weights are slots, which say what to read. */
export interface TextPlan {
  readonly config: TextConfig
  readonly weights: TextWeights<SlotLeaves>
}

/**
 * Finds CLIP's text tower in a checkpoint and checks every shape; nothing is read.
 *
 * @throws KeeplightError `format` when the file has none, or naming everything that is missing, of
 *   another shape or too much
 */
export function planText(file: CheckpointIndex): TextPlan {
  const found = detect(file)
  if (!found) {
    const names = schemes.map(({ tokens, label }) => `${tokens} (${label})`).join(' or ')
    throw new KeeplightError(
      'format',
      `no text tower in the file: expected ${names} among its ${file.tensors.size} tensors; ` +
        'only CLIP checkpoints have one',
    )
  }
  const { scheme, prefix } = found
  const reader = new CheckpointReader(file, scheme.label, prefix)
  const [vocabulary = 0, hiddenSize = 0] = reader.find(scheme.tokens) ?? []
  const context = reader.find(scheme.positions)?.[0] ?? 0
  const named = scheme.projections.find(({ name }) => reader.find(name)) ?? scheme.projections[0]!
  const projection = reader.find(named.name)?.[named.transposed ? 1 : 0] ?? 0
  // The scalar belongs to the whole model, so it has the prefix of the file but not of the tower.
  const whole = new CheckpointReader(file, scheme.label, prefix.replace(/text\.$/, ''))
  const { blocks, heads, mlpSize } = reader.blocks(scheme, hiddenSize)
  const weights: TextWeights<SlotLeaves> = {
    tokens: reader.take('plain', scheme.tokens, [vocabulary, hiddenSize]),
    positions: reader.take('plain', scheme.positions, [context, hiddenSize]),
    blocks,
    finalNorm: reader.norm(scheme.finalNorm, hiddenSize),
    projection: reader.projection(named, projection, hiddenSize),
    logitScale: whole.find('logit_scale') && whole.take('host', 'logit_scale', [1], []),
  }
  whole.finish([], IGNORED)
  reader.finish(scheme.own, IGNORED)
  const layers = blocks.length
  const config = { vocabulary, context, hiddenSize, layers, heads, mlpSize, projection }
  return { config, weights }
}

function detect(file: CheckpointIndex): { scheme: NamingScheme; prefix: string } | undefined {
  for (const scheme of schemes) {
    for (const name of file.tensors.keys()) {
      if (!name.endsWith(scheme.tokens)) continue
      const prefix = name.slice(0, -scheme.tokens.length)
      if (PREFIX.test(prefix)) return { scheme, prefix }
    }
  }
  return undefined
}

/**
 * CLIP's text tower of a checkpoint in memory, as host arrays.
 *
 * @throws KeeplightError `format` as {@link planText}
 */
export function readText(file: Checkpoint): { config: TextConfig; weights: TextWeights } {
  const { config, weights } = planText(file)
  return { config, weights: hostWeights(file, weights) }
}
