import { describe, expect, it } from 'vitest'
import type { CheckpointIndex } from '../../src/model/checkpoint.ts'
import type { SafetensorsDtype } from '../../src/model/safetensorsHeader.ts'
import { planText } from '../../src/model/text/names.ts'
import { planVit } from '../../src/model/vit/names.ts'
import type { Shape } from '../../src/runtime/shape.ts'
import { errorOf } from '../support/errorOf.ts'
import { clipShapes, dinoShapes, dinov2Shapes } from '../support/seeded.ts'

const small = { imageSize: 32, patch: 8, width: 64, layers: 3 }

function indexOf(
  shapes: Record<string, Shape | undefined>,
  dtype: SafetensorsDtype = 'F32',
): CheckpointIndex & { tensors: Map<string, { shape: Shape; dtype: SafetensorsDtype }> } {
  const entries = Object.entries(shapes).filter(([, shape]) => shape !== undefined)
  return { tensors: new Map(entries.map(([name, shape]) => [name, { shape: shape!, dtype }])) }
}

const problemsOf = (shapes: Record<string, Shape | undefined>): string =>
  errorOf(() => planVit(indexOf(shapes))).message

describe('a checkpoint that does not fit', () => {
  it('has all that is missing, of another shape and too much named at once', () => {
    const message = problemsOf({
      ...clipShapes(small, 32),
      'vision_model.encoder.layers.1.mlp.fc1.weight': undefined,
      'vision_model.post_layernorm.bias': undefined,
      'vision_model.encoder.layers.0.mlp.fc2.bias': [65],
      'vision_model.encoder.layers.0.self_attn.q_norm.weight': [64],
    })
    expect(message).toContain('looks like a Hugging Face CLIP checkpoint, but does not fit')
    expect(message).toContain(
      '2 tensors are missing: vision_model.encoder.layers.1.mlp.fc1.weight, vision_model.post_layernorm.bias;',
    )
    expect(message).toContain(
      '1 are of another shape: vision_model.encoder.layers.0.mlp.fc2.bias has shape [65], expected [64];',
    )
    expect(message).toContain(
      '1 are none of its tensors: vision_model.encoder.layers.0.self_attn.q_norm.weight.',
    )
  })

  it('has twenty named, and the others counted', () => {
    const shapes = dinoShapes({ ...small, layers: 6 })
    const lost = Object.fromEntries(
      Object.keys(shapes)
        .filter((name) => name.startsWith('encoder.layer.4.'))
        .map((name) => [name, undefined]),
    )
    // The third block of five is gone: a gap, not the end.
    const message = problemsOf({
      ...shapes,
      ...lost,
      'encoder.layer.3.layernorm_after.weight': undefined,
      'encoder.layer.3.layernorm_after.bias': undefined,
      'layernorm.bias': undefined,
      'layernorm.weight': undefined,
      'embeddings.cls_token': undefined,
    })
    expect(message).toMatch(/^the file looks like a Hugging Face ViT/)
    expect(message).toContain('21 tensors are missing: ')
    expect(message).toContain(' and 1 more')
  })

  it.each([
    ['embeddings.patch_embeddings.projection.weight', undefined, /1 tensors are missing: emb/],
    [
      'embeddings.patch_embeddings.projection.weight',
      [64, 3, 8, 7],
      /\[64, 3, 8, 7\], expected \[D, 3, P, P\]/,
    ],
    ['embeddings.position_embeddings', undefined, /1 tensors are missing: embeddings.position/],
    ['embeddings.position_embeddings', [1, 18, 64], /has 18 rows, expected 1 \+ a square grid/],
    ['embeddings.position_embeddings', [17, 63], /expected \[17, 64\] or \[1, 17, 64\]/],
  ] as const)('%s of shape %j', (name, shape, message) => {
    expect(problemsOf({ ...dinoShapes(small), [name]: shape })).toMatch(message)
  })

  it('is one of another width of heads, or of no known kind', () => {
    expect(problemsOf(dinoShapes({ ...small, width: 96 }))).toMatch(/width 96 is no multiple of 64/)
    expect(problemsOf({ x: [1] })).toMatch(/no vision transformer that Keeplight knows/)
  })

  it('says the same of text towers', () => {
    const index = indexOf({ 'token_embedding.weight': [10, 64], 'transformer.resblocks.0.x': [1] })
    const { message } = errorOf(() => planText(index))
    expect(message).toContain('OpenAI CLIP checkpoint, but does not fit')
    expect(message).toMatch(
      /16 tensors are missing: transformer.resblocks.0.ln_1.weight, .*text_projection/,
    )
    expect(message).toContain('1 are none of its tensors: transformer.resblocks.0.x')
  })
})

describe('tensors that no model takes', () => {
  it.each([
    [
      'clip',
      {
        ...clipShapes(small, 32),
        'vision_model.embeddings.position_ids': [1, 17],
        'text_model.x': [1],
        logit_scale: [],
      },
    ],
    [
      'dinov2',
      { ...dinov2Shapes(small), 'embeddings.mask_token': [1, 64], 'classifier.weight': [10, 128] },
    ],
    [
      'dino',
      { ...dinoShapes(small), 'pooler.dense.weight': [64, 64], 'head.mlp.0.weight': [2, 64] },
    ],
  ])('and files of %s have are let be', (family, shapes) => {
    const { config, weights } = planVit(indexOf(shapes as Record<string, Shape>))
    expect(config.family).toBe(family)
    expect(config.layers).toBe(3)
    expect(weights.blocks).toHaveLength(3)
  })

  it('of a file with heads, whose encoder has a prefix', () => {
    const shapes = Object.fromEntries(
      Object.entries(dinoShapes(small)).map(([name, shape]) => [`vit.${name}`, shape]),
    )
    expect(planVit(indexOf({ ...shapes, 'classifier.bias': [3] })).config.layers).toBe(3)
    expect(problemsOf({ ...shapes, 'vit.encoder.extra': [3] })).toMatch(/vit.encoder.extra/)
  })
})

describe("timm's DINOv2 with registers", () => {
  const block = (n: number): Record<string, Shape> => ({
    [`blocks.${n}.norm1.weight`]: [64],
    [`blocks.${n}.norm1.bias`]: [64],
    [`blocks.${n}.attn.qkv.weight`]: [192, 64],
    [`blocks.${n}.attn.qkv.bias`]: [192],
    [`blocks.${n}.attn.proj.weight`]: [64, 64],
    [`blocks.${n}.attn.proj.bias`]: [64],
    [`blocks.${n}.ls1.gamma`]: [64],
    [`blocks.${n}.norm2.weight`]: [64],
    [`blocks.${n}.norm2.bias`]: [64],
    [`blocks.${n}.mlp.fc1.weight`]: [256, 64],
    [`blocks.${n}.mlp.fc1.bias`]: [256],
    [`blocks.${n}.mlp.fc2.weight`]: [64, 256],
    [`blocks.${n}.mlp.fc2.bias`]: [64],
    [`blocks.${n}.ls2.gamma`]: [64],
  })
  const shapes: Record<string, Shape> = {
    cls_token: [1, 1, 64],
    reg_token: [1, 4, 64],
    pos_embed: [1, 16, 64],
    'patch_embed.proj.weight': [64, 3, 8, 8],
    'patch_embed.proj.bias': [64],
    ...block(0),
    'norm.weight': [64],
    'norm.bias': [64],
  }

  it('has a table without the class token, which was added to it already', () => {
    const { config, weights, scheme } = planVit(indexOf(shapes))
    expect(scheme).toBe('DINOv2')
    expect(config).toMatchObject({ registers: 4, imageSize: 32, patchSize: 8, layers: 1 })
    expect(weights.positions).toMatchObject({ shape: [17, 64], zeros: 64 })
  })

  it('beside tensors of another family is refused', () => {
    const message = problemsOf({ ...shapes, 'norm_pre.weight': [64] })
    expect(message).toContain('looks like a timm CLIP checkpoint, but does not fit')
    expect(message).toMatch(/tensors are missing: .*norm_pre.bias/)
  })
})

describe('I8 weights', () => {
  const name = 'encoder.layer.0.intermediate.dense.weight'
  const withInt8 = (
    dtype: SafetensorsDtype,
    extra: [string, Shape, SafetensorsDtype][],
  ): CheckpointIndex => {
    const index = indexOf(dinoShapes(small))
    index.tensors.set(name, { shape: [256, 64], dtype })
    for (const [scales, shape, type] of extra) index.tensors.set(scales, { shape, dtype: type })
    return index
  }

  it.each([`${name}.scale`, `${name}_scale`])('mean something beside %s', (scales) => {
    for (const shape of [[256], [256, 1]]) {
      const { weights } = planVit(withInt8('I8', [[scales, shape, 'F32']]))
      expect(weights.blocks[0]!.fc1.weight.pieces[0]).toMatchObject({ name, scales })
    }
  })

  it('mean nothing without scales, with others, or as another dtype', () => {
    const refused = (index: CheckpointIndex) => errorOf(() => planVit(index)).message
    expect(refused(withInt8('I8', []))).toMatch(/intermediate.dense.weight is I8 and nothing says/)
    expect(refused(withInt8('I8', [[`${name}.scale`, [255], 'F32']]))).toMatch(
      /F32 \[256\], a scale/,
    )
    expect(refused(withInt8('I8', [[`${name}.scale`, [256], 'F16']]))).toMatch(/is I8 and nothing/)
    expect(refused(withInt8('U8', []))).toMatch(/weight is U8, expected F32, F16, BF16, F64, I8/)
  })
})
