import { KeeplightError } from '../../runtime/errors.ts'
import {
  CheckpointReader,
  type BlockNames,
  type BlockWeights,
  type Checkpoint,
  type NormWeights,
  type ProjectionName,
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

/** Host copies of a text tower's weights, whatever the file called them. All f32, row-major. */
export interface TextWeights {
  /** [vocabulary, D] */
  readonly tokens: Float32Array
  /** [context, D] */
  readonly positions: Float32Array
  readonly blocks: readonly BlockWeights[]
  readonly finalNorm: NormWeights
  /** [E, D] */
  readonly projection: Float32Array
}

interface NamingScheme extends BlockNames {
  readonly label: string
  readonly tokens: string
  readonly positions: string
  readonly finalNorm: string
  readonly projection: ProjectionName
}

const schemes: readonly NamingScheme[] = [
  {
    label: 'OpenAI CLIP',
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
    projection: { name: 'text_projection', transposed: true },
  },
  {
    label: 'Hugging Face CLIP',
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
    projection: { name: 'text_projection.weight', transposed: false },
  },
]

/**
 * Copies CLIP's text tower out of a checkpoint, checking every shape.
 *
 * @throws KeeplightError `format` when the file has none, naming what is missing or of another shape
 */
export function readText(file: Checkpoint): { config: TextConfig; weights: TextWeights } {
  const scheme = schemes.find(({ tokens }) => file.tensors.has(tokens))
  if (!scheme) {
    const names = schemes.map(({ tokens, label }) => `${tokens} (${label})`).join(' or ')
    throw new KeeplightError(
      'format',
      `no text tower in the file: expected ${names} among its ${file.tensors.size} tensors; ` +
        'only CLIP checkpoints have one',
    )
  }
  const reader = new CheckpointReader(file, scheme.label, '')
  const [vocabulary = 0, hiddenSize = 0] = reader.shapeOf(scheme.tokens)
  const context = reader.shapeOf(scheme.positions)[0] ?? 0
  const { name, transposed } = scheme.projection
  const projection = reader.shapeOf(name)[transposed ? 1 : 0] ?? 0
  const { blocks, heads, mlpSize } = reader.blocks(scheme, hiddenSize)
  return {
    config: {
      vocabulary,
      context,
      hiddenSize,
      layers: blocks.length,
      heads,
      mlpSize,
      projection,
    },
    weights: {
      tokens: reader.take(scheme.tokens, [vocabulary, hiddenSize]),
      positions: reader.take(scheme.positions, [context, hiddenSize]),
      blocks,
      finalNorm: reader.norm(scheme.finalNorm, hiddenSize),
      projection: reader.projection(scheme.projection, projection, hiddenSize),
    },
  }
}
