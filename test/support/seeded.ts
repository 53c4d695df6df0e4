import type { Checkpoint } from '../../src/model/checkpoint.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'

/** FNV-1a, 32 bit, of a name's UTF-8 bytes. */
export function fnv1a(name: string): number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/**
 * The goldens' seeded tensors (their README): uniform in [mean − scale, mean + scale), a function of the
 * name and the index alone.
 */
export function uniform(
  name: string,
  shape: Shape,
  scale: number,
  { seed = 0, mean = 0 } = {},
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(sizeOf(shape))
  const start = (fnv1a(name) + Math.imul(seed, 0x9e3779b9)) | 0
  const [factor, offset] = [Math.fround(scale), Math.fround(mean)]
  for (let i = 0; i < values.length; i++) {
    const x = (Math.imul(start + i, 747796405) + 2891336453) | 0
    let w = Math.imul((x >>> ((x >>> 28) + 4)) ^ x, 277803737)
    w = (w >>> 22) ^ w
    const u = (w >>> 8) * 2 ** -23 - 1
    values[i] = offset + Math.fround(factor * u)
  }
  return values
}

/** A model's weight by its Hugging Face name: the first rule of the goldens' README that fits. */
export function seededWeight(name: string, shape: Shape): Float32Array<ArrayBuffer> {
  if (name === 'logit_scale') return Float32Array.of(Math.log(20))
  if (/norm/i.test(name) && name.endsWith('weight')) return uniform(name, shape, 0.2, { mean: 1 })
  if (name.endsWith('lambda1')) return uniform(name, shape, 0.3, { mean: 0.6 })
  if (name.endsWith('bias')) return uniform(name, shape, 0.1)
  const embedding = name.includes('embedding') && !name.includes('patch')
  if (embedding || /cls_token|register|mask_token/.test(name)) return uniform(name, shape, 0.5)
  return uniform(name, shape, 1.7 / Math.sqrt(sizeOf(shape.slice(1))))
}

/** A checkpoint of these tensors whose values are made when they are asked for. */
export function seededCheckpoint(shapes: Readonly<Record<string, Shape>>): Checkpoint {
  const tensors = new Map(Object.entries(shapes).map(([name, shape]) => [name, { shape }]))
  return { tensors, float32: (name) => seededWeight(name, tensors.get(name)!.shape) }
}

export interface VitSize {
  readonly imageSize: number
  readonly patch: number
  readonly width: number
  readonly layers: number
}

const affine = (name: string, out: number, ...inner: number[]): [string, Shape][] => [
  [`${name}.weight`, [out, ...inner]],
  [`${name}.bias`, [out]],
]

/** Names and shapes of the vision half of a Hugging Face CLIP. */
export function clipShapes(
  { imageSize, patch, width: d, layers }: VitSize,
  projection: number,
): Record<string, Shape> {
  const root = 'vision_model'
  const blocks = Array.from({ length: layers }, (_, i) => {
    const block = `${root}.encoder.layers.${i}`
    return [
      ...affine(`${block}.layer_norm1`, d),
      ...affine(`${block}.layer_norm2`, d),
      ...['q', 'k', 'v'].flatMap((part) => affine(`${block}.self_attn.${part}_proj`, d, d)),
      ...affine(`${block}.self_attn.out_proj`, d, d),
      ...affine(`${block}.mlp.fc1`, 4 * d, d),
      ...affine(`${block}.mlp.fc2`, d, 4 * d),
    ]
  })
  return Object.fromEntries([
    [`${root}.embeddings.class_embedding`, [d]],
    [`${root}.embeddings.patch_embedding.weight`, [d, 3, patch, patch]],
    [`${root}.embeddings.position_embedding.weight`, [(imageSize / patch) ** 2 + 1, d]],
    ...affine(`${root}.pre_layrnorm`, d),
    ...blocks.flat(),
    ...affine(`${root}.post_layernorm`, d),
    ['visual_projection.weight', [projection, d]],
  ])
}

/** Names and shapes of a DINO as Hugging Face's ViT has it. */
export function dinoShapes({ imageSize, patch, width: d, layers }: VitSize): Record<string, Shape> {
  const blocks = Array.from({ length: layers }, (_, i) => {
    const block = `encoder.layer.${i}`
    return [
      ...affine(`${block}.layernorm_before`, d),
      ...affine(`${block}.layernorm_after`, d),
      ...['query', 'key', 'value'].flatMap((part) =>
        affine(`${block}.attention.attention.${part}`, d, d),
      ),
      ...affine(`${block}.attention.output.dense`, d, d),
      ...affine(`${block}.intermediate.dense`, 4 * d, d),
      ...affine(`${block}.output.dense`, d, 4 * d),
    ]
  })
  return Object.fromEntries([
    ['embeddings.cls_token', [1, 1, d]],
    ['embeddings.position_embeddings', [1, (imageSize / patch) ** 2 + 1, d]],
    ...affine('embeddings.patch_embeddings.projection', d, 3, patch, patch),
    ...blocks.flat(),
    ...affine('layernorm', d),
  ])
}

/** Names and shapes of a DINOv2 without registers as Hugging Face has it. */
export function dinov2Shapes({
  imageSize,
  patch,
  width: d,
  layers,
}: VitSize): Record<string, Shape> {
  const blocks = Array.from({ length: layers }, (_, i): [string, Shape][] => {
    const block = `encoder.layer.${i}`
    return [
      ...affine(`${block}.norm1`, d),
      ...affine(`${block}.norm2`, d),
      ...['query', 'key', 'value'].flatMap((part) =>
        affine(`${block}.attention.attention.${part}`, d, d),
      ),
      ...affine(`${block}.attention.output.dense`, d, d),
      ...affine(`${block}.mlp.fc1`, 4 * d, d),
      ...affine(`${block}.mlp.fc2`, d, 4 * d),
      [`${block}.layer_scale1.lambda1`, [d]],
      [`${block}.layer_scale2.lambda1`, [d]],
    ]
  })
  return Object.fromEntries([
    ['embeddings.cls_token', [1, 1, d]],
    ['embeddings.position_embeddings', [1, (imageSize / patch) ** 2 + 1, d]],
    ...affine('embeddings.patch_embeddings.projection', d, 3, patch, patch),
    ...blocks.flat(),
    ...affine('layernorm', d),
  ])
}
