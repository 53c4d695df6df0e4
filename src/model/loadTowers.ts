import type { Activation } from '../kernels/activations.ts'
import type { ByteSource } from './byteRange.ts'
import type { DeviceLeaves } from './checkpoint.ts'
import { bufferSource } from './byteSource.ts'
import { loadWeights, type LoadOptions } from './loadWeights.ts'
import { openSafetensors, type SafetensorsSource, type ShardedSource } from './safetensorsSource.ts'
import { planText, type TextWeights } from './text/names.ts'
import { TextTransformer } from './text/textTransformer.ts'
import { planVit, type VitWeights } from './vit/names.ts'
import { VisionTransformer } from './vit/vit.ts'

/** Smaller files come whole: one request takes less time than several, and has a file's own hash. */
const WHOLE_BYTES = 8 * 2 ** 20

/** What training clips the scale to, and where published models end: ln 100. */
const TRAINED_LOGIT_SCALE = Math.log(100)

async function withCheckpoint<R>(
  source: ByteSource | ShardedSource,
  signal: AbortSignal | undefined,
  use: (checkpoint: SafetensorsSource) => Promise<R>,
): Promise<R> {
  const whole = 'read' in source && !source.sha256 && source.size <= WHOLE_BYTES
  const from = whole ? bufferSource(source.name, await source.read(0, source.size, signal)) : source
  const checkpoint = await openSafetensors(from, { signal })
  try {
    return await use(checkpoint)
  } finally {
    await checkpoint.close()
    if (whole) await source.close?.()
  }
}

/**
 * An image encoder of a checkpoint; of a CLIP its vision half alone is read.
 *
 * @param options `activation` overrides the family's, which no file names
 * @returns the encoder, which the caller disposes, and the name of the file's naming scheme
 * @throws KeeplightError as `openSafetensors`, `planVit` and `loadWeights`
 */
export function loadVit(
  source: ByteSource | ShardedSource,
  { activation, ...options }: LoadOptions & { readonly activation?: Activation },
): Promise<{ encoder: VisionTransformer; scheme: string; hash: string }> {
  return withCheckpoint(source, options.signal, async (checkpoint) => {
    const { config: found, weights: slots, scheme } = planVit(checkpoint)
    const config = activation ? { ...found, activation } : found
    const { weights, hash } = await loadWeights<VitWeights<DeviceLeaves>>(
      checkpoint,
      slots,
      options,
    )
    return { encoder: new VisionTransformer(options.device, config, weights), scheme, hash }
  })
}

/**
 * The text tower of a CLIP checkpoint; its vision half is not read.
 *
 * @returns the tower, which the caller disposes, and the factor from cosines to logits
 * @throws KeeplightError as `openSafetensors`, `planText` and `loadWeights`
 */
export function loadText(
  source: ByteSource | ShardedSource,
  options: LoadOptions,
): Promise<{ tower: TextTransformer; logitScale: number; hash: string }> {
  return withCheckpoint(source, options.signal, async (checkpoint) => {
    const { config, weights: slots } = planText(checkpoint)
    const { weights, hash } = await loadWeights<TextWeights<DeviceLeaves>>(
      checkpoint,
      slots,
      options,
    )
    const tower = new TextTransformer(options.device, config, weights)
    return { tower, logitScale: Math.exp(weights.logitScale?.[0] ?? TRAINED_LOGIT_SCALE), hash }
  })
}
