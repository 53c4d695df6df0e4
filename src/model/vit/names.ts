import { KeeplightError } from '../../runtime/errors.ts'
import { formatShape, sameShape, type Shape } from '../../runtime/shape.ts'
import type { SafetensorsFile } from '../safetensors.ts'
import { familyDefaults, type Family, type VitConfig } from './config.ts'

/** Host copies of a ViT's weights in one layout, whatever the file called them. All f32, row-major. */
export interface VitWeights {
  /** [D, 3, P, P] */
  readonly patchWeight: Float32Array
  readonly patchBias: Float32Array | undefined
  /** [D] */
  readonly classToken: Float32Array
  /** [n + 1, D] */
  readonly positions: Float32Array
  readonly preNorm: NormWeights | undefined
  readonly blocks: readonly BlockWeights[]
  readonly finalNorm: NormWeights
  /** [E, D] */
  readonly projection: Float32Array | undefined
}

export interface NormWeights {
  readonly weight: Float32Array
  readonly bias: Float32Array
}

export interface LinearWeights {
  /** [out, in] */
  readonly weight: Float32Array
  readonly bias: Float32Array
}

export interface BlockWeights {
  readonly norm1: NormWeights
  /** [3D, D]: query, key, value. */
  readonly qkv: LinearWeights
  readonly out: LinearWeights
  readonly norm2: NormWeights
  readonly fc1: LinearWeights
  readonly fc2: LinearWeights
}

/** How one lineage of files names the parts of a ViT; `N` stands for the block's number. */
interface NamingScheme {
  readonly label: string
  readonly family: Family
  /** A tensor that only this scheme has. */
  readonly marker: string
  readonly patch: string
  readonly patchBias: boolean
  readonly classToken: string
  readonly positions: string
  readonly preNorm?: string
  readonly block: string
  readonly norm1: string
  readonly norm2: string
  /** One fused projection, or the three of query, key and value. */
  readonly qkv: { readonly fused: string } | { readonly parts: readonly [string, string, string] }
  readonly out: string
  readonly fc1: string
  readonly fc2: string
  readonly finalNorm: string
  readonly projection?: { readonly name: string; readonly transposed: boolean }
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

/** Prefixes of files that hold more than the encoder. */
const PREFIXES = ['module.', 'backbone.', 'vit.']

/**
 * Recognises a checkpoint by its tensors' names, checks every shape, and copies the encoder out.
 *
 * @throws KeeplightError `format` naming what is missing or of another shape
 */
export function readVit(file: SafetensorsFile): {
  config: VitConfig
  weights: VitWeights
  scheme: string
} {
  const { scheme, prefix } = detect(file)
  const shapeOf = (name: string): Shape => {
    const tensor = file.tensors.get(prefix + name)
    if (!tensor) throw unfit(scheme, `it lacks ${prefix}${name}`)
    return tensor.shape
  }
  const take = (name: string, ...shapes: Shape[]): Float32Array => {
    const actual = shapeOf(name)
    if (!shapes.some((shape) => sameShape(shape, actual))) {
      const expected = shapes.map(formatShape).join(' or ')
      throw unfit(scheme, `${prefix}${name} has shape ${formatShape(actual)}, expected ${expected}`)
    }
    return file.float32(prefix + name)
  }

  const patchShape = shapeOf(scheme.patch)
  const [hiddenSize = 0, channels = 0, patchSize = 0] = patchShape
  if (patchShape.length !== 4 || channels !== 3 || patchSize !== patchShape[3]) {
    throw unfit(
      scheme,
      `${scheme.patch} has shape ${formatShape(patchShape)}, expected [D, 3, P, P]`,
    )
  }
  const rows = shapeOf(scheme.positions).at(-2) ?? 0
  const grid = Math.round(Math.sqrt(rows - 1))
  if (grid < 1 || grid * grid + 1 !== rows) {
    throw unfit(
      scheme,
      `${scheme.positions} has ${rows} rows, expected 1 + a square grid of patches`,
    )
  }
  const blockName = (index: number): string => scheme.block.replace('N', String(index))
  let layers = 0
  while (file.tensors.has(`${prefix}${blockName(layers)}.${scheme.norm1}.weight`)) layers++
  const mlpSize = shapeOf(`${blockName(0)}.${scheme.fc1}.weight`)[0]!
  const heads = hiddenSize / 64
  if (!Number.isInteger(heads)) {
    throw unfit(scheme, `its width ${hiddenSize} is no multiple of 64, the size of a head`)
  }

  const norm = (name: string): NormWeights => ({
    weight: take(`${name}.weight`, [hiddenSize]),
    bias: take(`${name}.bias`, [hiddenSize]),
  })
  const dense = (name: string, out: number, inner: number): LinearWeights => ({
    weight: take(`${name}.weight`, [out, inner]),
    bias: take(`${name}.bias`, [out]),
  })
  const qkv = (block: string): LinearWeights => {
    const names = scheme.qkv
    if ('fused' in names) {
      return {
        weight: take(`${block}.${names.fused}weight`, [3 * hiddenSize, hiddenSize]),
        bias: take(`${block}.${names.fused}bias`, [3 * hiddenSize]),
      }
    }
    const parts = names.parts.map((name) => dense(`${block}.${name}`, hiddenSize, hiddenSize))
    return {
      weight: concatenate(parts.map(({ weight }) => weight)),
      bias: concatenate(parts.map(({ bias }) => bias)),
    }
  }
  const blocks = Array.from({ length: layers }, (_, index): BlockWeights => {
    const block = blockName(index)
    return {
      norm1: norm(`${block}.${scheme.norm1}`),
      qkv: qkv(block),
      out: dense(`${block}.${scheme.out}`, hiddenSize, hiddenSize),
      norm2: norm(`${block}.${scheme.norm2}`),
      fc1: dense(`${block}.${scheme.fc1}`, mlpSize, hiddenSize),
      fc2: dense(`${block}.${scheme.fc2}`, hiddenSize, mlpSize),
    }
  })

  const projected = scheme.projection && shapeOf(scheme.projection.name)
  const projection = projected?.[scheme.projection?.transposed ? 1 : 0]
  const config: VitConfig = {
    family: scheme.family,
    imageSize: grid * patchSize,
    patchSize,
    hiddenSize,
    layers,
    heads,
    mlpSize,
    ...familyDefaults[scheme.family],
    projection,
  }
  const weights: VitWeights = {
    patchWeight: take(scheme.patch, [hiddenSize, 3, patchSize, patchSize]),
    patchBias: scheme.patchBias
      ? take(scheme.patch.replace(/weight$/, 'bias'), [hiddenSize])
      : undefined,
    classToken: take(scheme.classToken, [hiddenSize], [1, 1, hiddenSize]),
    positions: take(scheme.positions, [rows, hiddenSize], [1, rows, hiddenSize]),
    preNorm: scheme.preNorm ? norm(scheme.preNorm) : undefined,
    blocks,
    finalNorm: norm(scheme.finalNorm),
    projection: scheme.projection && readProjection(scheme.projection, projection!),
  }
  return { config, weights, scheme: scheme.label }

  function readProjection(
    { name, transposed }: { name: string; transposed: boolean },
    size: number,
  ): Float32Array {
    if (!transposed) return take(name, [size, hiddenSize])
    return transpose(take(name, [hiddenSize, size]), hiddenSize, size)
  }
}

function detect(file: SafetensorsFile): { scheme: NamingScheme; prefix: string } {
  const prefixes = ['', ...PREFIXES, 'module.backbone.']
  for (const scheme of schemes) {
    for (const prefix of prefixes) {
      if (file.tensors.has(prefix + scheme.marker)) return { scheme, prefix }
    }
  }
  const some = [...file.tensors.keys()].slice(0, 3).join(', ') || 'none'
  const known = schemes.map(({ label }) => label).join(', ')
  throw new KeeplightError(
    'format',
    `no vision transformer that Keeplight knows: none of the names of ${known} is among the file's ` +
      `${file.tensors.size} tensors (${some}, …)`,
  )
}

const unfit = (scheme: NamingScheme, problem: string): KeeplightError =>
  new KeeplightError('format', `the file looks like a ${scheme.label} checkpoint, but ${problem}`)

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    all.set(part, offset)
    offset += part.length
  }
  return all
}

function transpose(data: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(data.length)
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c]!
  }
  return out
}
