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
  /** Natural logarithm of the factor that turns cosines into logits. */
  readonly logitScale: number
}

/** What training clips the factor to, and where every published model ends: ln 100. */
const TRAINED_LOGIT_SCALE = Math.log(100)

interface NamingScheme extends BlockNames {
  readonly label: string
  readonly tokens: string
  readonly positions: string
  readonly finalNorm: string
  /** One of these. */
  readonly projections: readonly ProjectionName[]
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
    // OpenCLIP may make a linear layer of it, as Hugging Face does.
    projections: [
      { name: 'text_projection', transposed: true },
      { name: 'text_projection.weight', transposed: false },
    ],
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
    projections: [{ name: 'text_projection.weight', transposed: false }],
  },
]

/** What wrappers put before the names; `text.` is OpenCLIP's, where it has the tower apart. */
const PREFIX = /^(?:(?:module|model|clip|text)\.)*$/

/**
 * Copies CLIP's text tower out of a checkpoint, checking every shape.
 *
 * @throws KeeplightError `format` when the file has none, naming what is missing or of another shape
 */
export function readText(file: Checkpoint): { config: TextConfig; weights: TextWeights } {
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
  const [vocabulary = 0, hiddenSize = 0] = reader.shapeOf(scheme.tokens)
  const context = reader.shapeOf(scheme.positions)[0] ?? 0
  const named = scheme.projections.find(({ name }) => reader.has(name)) ?? scheme.projections[0]!
  const projection = reader.shapeOf(named.name)[named.transposed ? 1 : 0] ?? 0
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
      projection: reader.projection(named, projection, hiddenSize),
      logitScale: logitScaleOf(file, scheme.label, prefix),
    },
  }
}

function detect(file: Checkpoint): { scheme: NamingScheme; prefix: string } | undefined {
  for (const scheme of schemes) {
    for (const name of file.tensors.keys()) {
      if (!name.endsWith(scheme.tokens)) continue
      const prefix = name.slice(0, -scheme.tokens.length)
      if (PREFIX.test(prefix)) return { scheme, prefix }
    }
  }
  return undefined
}

/** The scalar belongs to the whole model, so it has the prefix of the file but not of the tower. */
function logitScaleOf(file: Checkpoint, label: string, prefix: string): number {
  const reader = new CheckpointReader(file, label, prefix.replace(/text\.$/, ''))
  if (!reader.has('logit_scale')) return TRAINED_LOGIT_SCALE
  return reader.take('logit_scale', [], [1])[0]!
}
