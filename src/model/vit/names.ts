import { KeeplightError } from '../../runtime/errors.ts'
import { formatShape } from '../../runtime/shape.ts'
import {
  CheckpointReader,
  Slot,
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
import { familyDefaults, type Family, type VitConfig } from './config.ts'

/** A ViT's weights in one layout, whatever the file called them; by default host arrays, f32, row-major. */
export interface VitWeights<L extends Leaves = HostLeaves> {
  /** [D, 3, P, P] */
  readonly patchWeight: L['plain']
  readonly patchBias: L['plain'] | undefined
  /** [D] */
  readonly classToken: L['host']
  /** [R, D] */
  readonly registers: L['host'] | undefined
  /** [n + 1, D] */
  readonly positions: L['host']
  readonly preNorm: NormWeights<L> | undefined
  readonly blocks: readonly BlockWeights<L>[]
  readonly finalNorm: NormWeights<L>
  /** [E, D] */
  readonly projection: L['matrix'] | undefined
  /** [E]: zeros, where a file has a bias of the projection at all. */
  readonly projectionBias?: L['host'] | undefined
}

/** How one lineage of files names the parts of a ViT; `N` stands for the block's number. */
interface NamingScheme extends BlockNames {
  readonly label: string
  readonly family: Family
  /** A tensor that only this scheme has. */
  readonly marker: string
  /** How the names of its tensors begin; others in the file belong to something else. */
  readonly own: readonly string[]
  readonly patch: string
  readonly patchBias: boolean
  readonly classToken: string
  /** Only some files of the lineage have them, by one of these names. */
  readonly registers?: readonly string[]
  readonly positions: string
  readonly preNorm?: string
  readonly finalNorm: string
  readonly projection?: ProjectionName
  /** A bias that files may carry, and that is zero where they are no classifiers. */
  readonly projectionBias?: string
}

/** timm adds the class token's position to the token, so its position tables have none for it. */
const TIMM_REGISTERS = 'reg_token'

const HF_VIT = ['embeddings.', 'encoder.', 'layernorm.']
const TIMM = ['cls_token', 'pos_embed', 'patch_embed.', 'blocks.', 'norm.']
const ORIGINAL = [...TIMM, 'register_tokens', TIMM_REGISTERS]
/** Blocks of Meta's own files and of timm's. */
const ORIGINAL_BLOCK = {
  block: 'blocks.N',
  norm1: 'norm1',
  norm2: 'norm2',
  qkv: { fused: 'attn.qkv.' },
  out: 'attn.proj',
  fc1: 'mlp.fc1',
  fc2: 'mlp.fc2',
} as const satisfies BlockNames
/** In files of encoders, and no part of what they compute. */
const IGNORED = /(position_ids|mask_token)$/

/** In the order they are tried; see facts on checkpoints in docs/models.md. */
const schemes: readonly NamingScheme[] = [
  {
    label: 'OpenAI CLIP',
    family: 'clip',
    marker: 'visual.conv1.weight',
    own: ['visual.'],
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
    own: ['vision_model.', 'visual_projection.'],
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
    own: HF_VIT,
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
    own: HF_VIT,
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
    // Its other names are DINO's.
    marker: 'norm_pre.weight',
    own: [...TIMM, 'norm_pre.', 'head.'],
    patch: 'patch_embed.proj.weight',
    patchBias: false,
    classToken: 'cls_token',
    positions: 'pos_embed',
    preNorm: 'norm_pre',
    ...ORIGINAL_BLOCK,
    finalNorm: 'norm',
    projection: { name: 'head.weight', transposed: false },
    projectionBias: 'head.bias',
  },
  {
    label: 'DINOv2',
    family: 'dinov2',
    marker: 'blocks.0.ls1.gamma',
    own: ORIGINAL,
    patch: 'patch_embed.proj.weight',
    patchBias: true,
    classToken: 'cls_token',
    registers: ['register_tokens', TIMM_REGISTERS],
    positions: 'pos_embed',
    ...ORIGINAL_BLOCK,
    layerScales: ['ls1.gamma', 'ls2.gamma'],
    finalNorm: 'norm',
  },
  {
    label: 'DINO',
    family: 'dino',
    marker: 'blocks.0.attn.qkv.weight',
    own: ORIGINAL,
    patch: 'patch_embed.proj.weight',
    patchBias: true,
    classToken: 'cls_token',
    positions: 'pos_embed',
    ...ORIGINAL_BLOCK,
    finalNorm: 'norm',
  },
]

/** What wrappers put before the names: training checkpoints, models with heads, whole pipelines. */
const PREFIX =
  /^(?:(?:module|model|backbone|encoder|teacher|student|vit|clip|dinov2|dinov2_with_registers)\.)*$/

/** An encoder found in a checkpoint; its weights are slots, which say what to read. */
export interface VitPlan {
  readonly config: VitConfig
  readonly weights: VitWeights<SlotLeaves>
  /** Naming scheme of the file, e.g. `Hugging Face CLIP`. */
  readonly scheme: string
}

/**
 * Recognises a checkpoint by its tensors' names and checks every shape; nothing is read.
 *
 * @throws KeeplightError `format` naming everything that is missing, of another shape or too much
 */
export function planVit(file: CheckpointIndex): VitPlan {
  const { scheme, prefix } = detect(file)
  const reader = new CheckpointReader(file, scheme.label, prefix)
  const patch = reader.find(scheme.patch) ?? []
  const hiddenSize =
    patch[0] ??
    reader.find(scheme.classToken)?.at(-1) ??
    reader.find(`${scheme.finalNorm}.weight`)?.[0] ??
    0
  const patchSize = patch[2] ?? 0
  if (patch.length > 0 && (patch.length !== 4 || patch[1] !== 3 || patchSize !== patch[3])) {
    reader.problem(`${scheme.patch} has shape ${formatShape(patch)}, expected [D, 3, P, P]`)
  }
  const registerName = scheme.registers?.find((name) => reader.find(name))
  const registers = registerName === undefined ? 0 : (reader.find(registerName)!.at(-2) ?? 0)
  const withoutClass = registerName === TIMM_REGISTERS
  const rows = reader.find(scheme.positions)?.at(-2) ?? 0
  const patches = withoutClass ? rows : rows - 1
  const grid = Math.round(Math.sqrt(Math.max(patches, 0)))
  if (reader.find(scheme.positions) && (grid < 1 || grid * grid !== patches)) {
    reader.problem(
      `${scheme.positions} has ${rows} rows, expected ${withoutClass ? '' : '1 + '}a square grid of patches`,
    )
  }
  const { blocks, heads, mlpSize } = reader.blocks(scheme, hiddenSize)
  const projected = scheme.projection && reader.find(scheme.projection.name)
  const projection = scheme.projection && (projected?.[scheme.projection.transposed ? 1 : 0] ?? 0)
  const positions = reader.piece(scheme.positions, [
    [rows, hiddenSize],
    [1, rows, hiddenSize],
  ])
  const weights: VitWeights<SlotLeaves> = {
    patchWeight: reader.take('plain', scheme.patch, [hiddenSize, 3, patchSize, patchSize]),
    patchBias: scheme.patchBias
      ? reader.take('plain', scheme.patch.replace(/weight$/, 'bias'), [hiddenSize])
      : undefined,
    classToken: reader.take('host', scheme.classToken, [hiddenSize], [1, 1, hiddenSize]),
    registers: registerName
      ? reader.take('host', registerName, [1, registers, hiddenSize])
      : undefined,
    positions: withoutClass
      ? new Slot('host', [rows + 1, hiddenSize], [positions], { zeros: hiddenSize })
      : new Slot('host', [rows, hiddenSize], [positions]),
    preNorm: scheme.preNorm ? reader.norm(scheme.preNorm, hiddenSize) : undefined,
    blocks,
    finalNorm: reader.norm(scheme.finalNorm, hiddenSize),
    projection: scheme.projection && reader.projection(scheme.projection, projection!, hiddenSize),
    projectionBias:
      scheme.projectionBias && reader.find(scheme.projectionBias)
        ? new Slot('host', [projection!], [reader.piece(scheme.projectionBias, [[projection!]])], {
            vanishing: true,
          })
        : undefined,
  }
  reader.finish(scheme.own, IGNORED)
  const config: VitConfig = {
    family: scheme.family,
    imageSize: grid * patchSize,
    patchSize,
    hiddenSize,
    layers: blocks.length,
    heads,
    mlpSize,
    ...familyDefaults[scheme.family],
    registers,
    projection,
  }
  return { config, weights, scheme: scheme.label }
}

/**
 * The encoder of a checkpoint in memory, as host arrays.
 *
 * @throws KeeplightError `format` as {@link planVit}
 */
export function readVit(file: Checkpoint): {
  config: VitConfig
  weights: VitWeights
  scheme: string
} {
  const { config, weights, scheme } = planVit(file)
  return { config, weights: hostWeights(file, weights), scheme }
}

/** The first scheme whose marker is there; of several copies the teacher's, then the least wrapped. */
function detect(file: CheckpointIndex): { scheme: NamingScheme; prefix: string } {
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
