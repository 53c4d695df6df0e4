import { KeeplightError } from '../../runtime/errors.ts'
import { formatShape } from '../../runtime/shape.ts'
import {
  CheckpointReader,
  type BlockNames,
  type BlockWeights,
  type Checkpoint,
  type NormWeights,
  type ProjectionName,
} from '../checkpoint.ts'
import { familyDefaults, type Family, type VitConfig } from './config.ts'

/** Host copies of a ViT's weights in one layout, whatever the file called them. All f32, row-major. */
export interface VitWeights {
  /** [D, 3, P, P] */
  readonly patchWeight: Float32Array
  readonly patchBias: Float32Array | undefined
  /** [D] */
  readonly classToken: Float32Array
  /** [R, D] */
  readonly registers: Float32Array | undefined
  /** [n + 1, D] */
  readonly positions: Float32Array
  readonly preNorm: NormWeights | undefined
  readonly blocks: readonly BlockWeights[]
  readonly finalNorm: NormWeights
  /** [E, D] */
  readonly projection: Float32Array | undefined
}

/** How one lineage of files names the parts of a ViT; `N` stands for the block's number. */
interface NamingScheme extends BlockNames {
  readonly label: string
  readonly family: Family
  /** A tensor that only this scheme has. */
  readonly marker: string
  readonly patch: string
  readonly patchBias: boolean
  readonly classToken: string
  /** Only some files of the lineage have it; one of these names. */
  readonly registers?: readonly string[]
  readonly positions: string
  readonly preNorm?: string
  readonly finalNorm: string
  readonly projection?: ProjectionName & {
    /** A bias that files of the lineage carry and published ones have as zeros. */
    readonly zeroBias?: string
  }
}

/** In the order they are tried; see facts on checkpoints in docs/models.md. */
const schemes: readonly NamingScheme[] = [
  {
    label: 'OpenAI CLIP',
    family: 'clip',
    marker: 'visual.conv1.weight',
    patch: 'visual.conv1.weight',
    patchBias: false,
    classToken: 'visual.class_embedding',
    positions: 'visual.positional_embedding',
    preNorm: 'visual.ln_pre',
    block: 'visual.transformer.resblocks.N',
    norm1: 'ln_1',
    norm2: 'ln_2',
    qkv: { fused: 'attn.in_proj_' },
    out: 'attn.out_proj',
    fc1: 'mlp.c_fc',
    fc2: 'mlp.c_proj',
    finalNorm: 'visual.ln_post',
    projection: { name: 'visual.proj', transposed: true },
  },
  {
    label: 'Hugging Face CLIP',
    family: 'clip',
    // The misspelling is the files' own.
    marker: 'vision_model.pre_layrnorm.weight',
    patch: 'vision_model.embeddings.patch_embedding.weight',
    patchBias: false,
    classToken: 'vision_model.embeddings.class_embedding',
    positions: 'vision_model.embeddings.position_embedding.weight',
    preNorm: 'vision_model.pre_layrnorm',
    block: 'vision_model.encoder.layers.N',
    norm1: 'layer_norm1',
    norm2: 'layer_norm2',
    qkv: { parts: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'] },
    out: 'self_attn.out_proj',
    fc1: 'mlp.fc1',
    fc2: 'mlp.fc2',
    finalNorm: 'vision_model.post_layernorm',
    projection: { name: 'visual_projection.weight', transposed: false },
  },
  {
    label: 'Hugging Face DINOv2',
    family: 'dinov2',
    marker: 'encoder.layer.0.layer_scale1.lambda1',
    patch: 'embeddings.patch_embeddings.projection.weight',
    patchBias: true,
    classToken: 'embeddings.cls_token',
    registers: ['embeddings.register_tokens'],
    positions: 'embeddings.position_embeddings',
    block: 'encoder.layer.N',
    norm1: 'norm1',
    norm2: 'norm2',
    qkv: {
      parts: ['attention.attention.query', 'attention.attention.key', 'attention.attention.value'],
    },
    out: 'attention.output.dense',
    fc1: 'mlp.fc1',
    fc2: 'mlp.fc2',
    layerScales: ['layer_scale1.lambda1', 'layer_scale2.lambda1'],
    finalNorm: 'layernorm',
  },
  {
    label: 'Hugging Face ViT (DINO)',
    family: 'dino',
    marker: 'encoder.layer.0.layernorm_before.weight',
    patch: 'embeddings.patch_embeddings.projection.weight',
    patchBias: true,
    classToken: 'embeddings.cls_token',
    positions: 'embeddings.position_embeddings',
    block: 'encoder.layer.N',
    norm1: 'layernorm_before',
    norm2: 'layernorm_after',
    qkv: {
      parts: ['attention.attention.query', 'attention.attention.key', 'attention.attention.value'],
    },
    out: 'attention.output.dense',
    fc1: 'intermediate.dense',
    fc2: 'output.dense',
    finalNorm: 'layernorm',
  },
  {
    label: 'timm CLIP',
    family: 'clip',
    marker: 'norm_pre.weight',
    patch: 'patch_embed.proj.weight',
    patchBias: false,
    classToken: 'cls_token',
    positions: 'pos_embed',
    preNorm: 'norm_pre',
    block: 'blocks.N',
    norm1: 'norm1',
    norm2: 'norm2',
    qkv: { fused: 'attn.qkv.' },
    out: 'attn.proj',
    fc1: 'mlp.fc1',
    fc2: 'mlp.fc2',
    finalNorm: 'norm',
    projection: { name: 'head.weight', transposed: false, zeroBias: 'head.bias' },
  },
  {
    label: 'DINOv2',
    family: 'dinov2',
    marker: 'blocks.0.ls1.gamma',
    patch: 'patch_embed.proj.weight',
    patchBias: true,
    classToken: 'cls_token',
    registers: ['register_tokens', 'reg_token'],
    positions: 'pos_embed',
    block: 'blocks.N',
    norm1: 'norm1',
    norm2: 'norm2',
    qkv: { fused: 'attn.qkv.' },
    out: 'attn.proj',
    fc1: 'mlp.fc1',
    fc2: 'mlp.fc2',
    layerScales: ['ls1.gamma', 'ls2.gamma'],
    finalNorm: 'norm',
  },
  {
    label: 'DINO',
    family: 'dino',
    marker: 'blocks.0.attn.qkv.weight',
    patch: 'patch_embed.proj.weight',
    patchBias: true,
    classToken: 'cls_token',
    positions: 'pos_embed',
    block: 'blocks.N',
    norm1: 'norm1',
    norm2: 'norm2',
    qkv: { fused: 'attn.qkv.' },
    out: 'attn.proj',
    fc1: 'mlp.fc1',
    fc2: 'mlp.fc2',
    finalNorm: 'norm',
  },
]

/** What wrappers put before the names: training checkpoints, models with heads, whole pipelines. */
const PREFIX =
  /^(?:(?:module|model|backbone|encoder|teacher|student|vit|clip|dinov2|dinov2_with_registers)\.)*$/

/**
 * Recognises a checkpoint by its tensors' names, checks every shape, and copies the encoder out.
 *
 * @throws KeeplightError `format` naming what is missing or of another shape
 */
export function readVit(file: Checkpoint): {
  config: VitConfig
  weights: VitWeights
  scheme: string
} {
  const { scheme, prefix } = detect(file)
  const reader = new CheckpointReader(file, scheme.label, prefix)
  const patchShape = reader.shapeOf(scheme.patch)
  const [hiddenSize = 0, channels = 0, patchSize = 0] = patchShape
  if (patchShape.length !== 4 || channels !== 3 || patchSize !== patchShape[3]) {
    const shape = formatShape(patchShape)
    throw reader.unfit(`${scheme.patch} has shape ${shape}, expected [D, 3, P, P]`)
  }
  const registerName = scheme.registers?.find((name) => reader.has(name))
  const rows = reader.shapeOf(scheme.positions).at(-2) ?? 0
  // timm folds the class token's position into the token where there are registers.
  const folded = registerName === 'reg_token' ? 1 : 0
  const grid = Math.round(Math.sqrt(rows - 1 + folded))
  if (grid < 1 || grid * grid + 1 - folded !== rows) {
    const expected = folded ? 'a square grid of patches' : '1 + a square grid of patches'
    throw reader.unfit(`${scheme.positions} has ${rows} rows, expected ${expected}`)
  }
  const { blocks, heads, mlpSize } = reader.blocks(scheme, hiddenSize)

  const projected = scheme.projection && reader.shapeOf(scheme.projection.name)
  const projection = projected?.[scheme.projection?.transposed ? 1 : 0]
  const registers = registerName && {
    name: registerName,
    count: reader.shapeOf(registerName).at(-2) ?? 0,
  }
  const config: VitConfig = {
    family: scheme.family,
    imageSize: grid * patchSize,
    patchSize,
    hiddenSize,
    layers: blocks.length,
    heads,
    mlpSize,
    ...familyDefaults[scheme.family],
    registers: registers ? registers.count : 0,
    projection,
  }
  const positions = reader.take(scheme.positions, [rows, hiddenSize], [1, rows, hiddenSize])
  const zeroBias = scheme.projection?.zeroBias
  if (zeroBias !== undefined && reader.has(zeroBias)) {
    if (reader.take(zeroBias, [projection!]).some((value) => value !== 0)) {
      throw reader.unfit(`${zeroBias} is not zero: a classifier's head, where a projection belongs`)
    }
  }
  const weights: VitWeights = {
    patchWeight: reader.take(scheme.patch, [hiddenSize, 3, patchSize, patchSize]),
    patchBias: scheme.patchBias
      ? reader.take(scheme.patch.replace(/weight$/, 'bias'), [hiddenSize])
      : undefined,
    classToken: reader.take(scheme.classToken, [hiddenSize], [1, 1, hiddenSize]),
    registers: registers
      ? reader.take(registers.name, [1, registers.count, hiddenSize])
      : undefined,
    positions: folded ? withClassRow(positions, hiddenSize) : positions,
    preNorm: scheme.preNorm ? reader.norm(scheme.preNorm, hiddenSize) : undefined,
    blocks,
    finalNorm: reader.norm(scheme.finalNorm, hiddenSize),
    projection: scheme.projection && reader.projection(scheme.projection, projection!, hiddenSize),
  }
  return { config, weights, scheme: scheme.label }
}

/** A table whose first row, the class token's, is zero. */
function withClassRow(positions: Float32Array, hiddenSize: number): Float32Array {
  const table = new Float32Array(hiddenSize + positions.length)
  table.set(positions, hiddenSize)
  return table
}

/** The first scheme whose marker is there; of several copies the teacher's, then the least wrapped. */
function detect(file: Checkpoint): { scheme: NamingScheme; prefix: string } {
  const names = [...file.tensors.keys()]
  for (const scheme of schemes) {
    const prefixes = names
      .filter((name) => name.endsWith(scheme.marker))
      .map((name) => name.slice(0, -scheme.marker.length))
      .filter((prefix) => PREFIX.test(prefix))
    const rank = (prefix: string): number =>
      prefix.includes('teacher.') ? 0 : prefix.includes('student.') ? 2 : 1
    const [prefix] = prefixes.sort((a, b) => rank(a) - rank(b) || a.length - b.length)
    if (prefix !== undefined) return { scheme, prefix }
  }
  const some = names.slice(0, 3).join(', ') || 'none'
  const known = schemes.map(({ label }) => label).join(', ')
  throw new KeeplightError(
    'format',
    `no vision transformer that Keeplight knows: none of the names of ${known} is among the file's ` +
      `${names.length} tensors (${some}, …)`,
  )
}
