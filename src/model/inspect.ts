import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { slice } from '../runtime/ops/layout.ts'
import { scope, type Tensor } from '../runtime/tensor.ts'
import type { Embeddings } from './features.ts'
import { classRowsOf, type VisionTransformer } from './vit/vit.ts'

/** What to take out of an encoder beside its feature. Blocks count from 0; from the last one, −1, too. */
export interface InspectOptions {
  /** Blocks whose outputs are wanted. */
  readonly blocks?: readonly number[]
  /** Whether the tokens of the patches are wanted, as the last block leaves them. */
  readonly patchTokens?: boolean
  /**
   * The block whose attention is wanted: from every token to every token, or, with `from: 'class'`, from
   * the class token to the patches alone. Default `'all'`.
   */
  readonly attention?: { readonly block: number; readonly from?: 'all' | 'class' }
}

/** Values of the encoder on the host, row-major. */
export interface Activations {
  readonly shape: readonly number[]
  readonly data: Float32Array<ArrayBuffer>
}

/**
 * B images seen from inside. Of the T tokens the first is the class token, then come R registers, then
 * the patches, row by row; D is the width of a token, H the number of heads.
 */
export interface Inspection {
  readonly count: number
  /** Rows and columns of patches. */
  readonly grid: readonly [number, number]
  readonly registers: number
  /** What `embed` gives. */
  readonly features: Embeddings
  /** [B, T, D] by block, numbered from 0: the residual stream behind it, not normed. */
  readonly blocks: ReadonlyMap<number, Activations>
  /**
   * [B, rows · columns, D], without class token and registers; after the final norm for DINO and DINOv2,
   * and before it for CLIP, which norms its class token alone.
   */
  readonly patchTokens?: Activations
  /** [B, H, T, T], rows sum to 1; or from the class token to the patches, [B, H, rows, columns]. */
  readonly attention?: Activations
}

/**
 * The inspection of one batch.
 *
 * @param values [B, 3, height, width], normalised
 * @param size height and width in pixels, multiples of the patch
 */
export async function inspectBatch(
  device: Device,
  encoder: VisionTransformer,
  values: Float32Array<ArrayBuffer>,
  [height, width]: readonly [number, number],
  options: InspectOptions,
): Promise<Inspection> {
  const { config } = encoder
  const batch = values.length / (3 * height * width)
  const grid = [height / config.patchSize, width / config.patchSize] as const
  const first = 1 + config.registers
  const tokens = first + grid[0] * grid[1]
  const blockOf = (block: number): number => blockIndex(block, config.layers)
  const blocks = [...new Set((options.blocks ?? []).map(blockOf))]
  const { from = 'all' } = options.attention ?? {}
  const attentionBlock = options.attention && blockOf(options.attention.block)

  const wanted = scope(() => {
    const pixels = device.tensor(values, [batch, 3, height, width])
    const rows = device.constant(classRowsOf(batch, tokens), [batch])
    const {
      feature,
      tokens: last,
      hiddenStates,
    } = encoder.forward(pixels, rows, {
      hiddenStates: true,
    })
    const result: Tensor<'f32'>[] = [feature, ...blocks.map((block) => hiddenStates[block + 1]!)]
    if (options.patchTokens) {
      const normed = config.family === 'clip' ? last : encoder.normalize(last)
      result.push(slice(normed, [0, first, 0], [batch, tokens, config.hiddenSize]))
    }
    if (attentionBlock !== undefined) {
      const queries = from === 'class' ? 1 : tokens
      const map = encoder.attentionMap(hiddenStates[attentionBlock]!, attentionBlock, queries)
      const patches = [batch, config.heads, 1, tokens]
      result.push(from === 'class' ? slice(map, [0, 0, 0, first], patches) : map)
    }
    return result
  })
  try {
    const read = await Promise.all(
      wanted.map(async (tensor) => ({ shape: tensor.shape, data: await tensor.read() })),
    )
    const [feature, ...rest] = read as [Activations, ...Activations[]]
    const outputs = new Map(blocks.map((block) => [block, rest.shift()!]))
    const patchTokens = options.patchTokens ? rest.shift() : undefined
    const map = rest.shift()
    return {
      count: batch,
      grid,
      registers: config.registers,
      features: { count: batch, dimension: feature.shape[1]!, data: feature.data },
      blocks: outputs,
      ...(patchTokens && { patchTokens }),
      ...(map && {
        attention: from === 'class' ? { ...map, shape: [batch, config.heads, ...grid] } : map,
      }),
    }
  } finally {
    wanted.forEach((tensor) => tensor.dispose())
  }
}

/** One inspection of all the images of several. */
export function joinInspections(parts: readonly Inspection[]): Inspection {
  const [first, ...others] = parts
  if (!first) throw new KeeplightError('input', 'inspect: there are no images')
  if (others.length === 0) return first
  const join = (take: (part: Inspection) => Activations): Activations => {
    const all = parts.map(take)
    const count = all.reduce((sum, { shape }) => sum + shape[0]!, 0)
    return {
      shape: [count, ...all[0]!.shape.slice(1)],
      data: concatenate(all.map(({ data }) => data)),
    }
  }
  const count = parts.reduce((sum, part) => sum + part.count, 0)
  return {
    ...first,
    count,
    features: {
      ...first.features,
      count,
      data: concatenate(parts.map(({ features }) => features.data)),
    },
    blocks: new Map([...first.blocks.keys()].map((k) => [k, join(({ blocks }) => blocks.get(k)!)])),
    ...(first.patchTokens && { patchTokens: join(({ patchTokens }) => patchTokens!) }),
    ...(first.attention && { attention: join(({ attention }) => attention!) }),
  }
}

function concatenate(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    all.set(part, offset)
    offset += part.length
  }
  return all
}

function blockIndex(block: number, layers: number): number {
  const index = block < 0 ? layers + block : block
  if (Number.isInteger(index) && index >= 0 && index < layers) return index
  throw new KeeplightError(
    'validation',
    `inspect: no block ${block}; the encoder has blocks 0 to ${layers - 1}, or −1 to −${layers} from the end`,
  )
}
