import { describe, expect, it } from 'vitest'
import { modelFromBytes } from '../../src/model/model.ts'
import { serializeSafetensors, type TensorData } from '../../src/model/safetensors.ts'
import { readText } from '../../src/model/text/names.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { describeGolden, readGoldenTensors } from '../support/golden.ts'
import { randomArray } from '../support/random.ts'

interface Value {
  readonly shape: readonly number[]
  readonly data: Float32Array
}
type Values = Record<string, Value>

async function valuesOf(path: string): Promise<Values> {
  const file = await readGoldenTensors(path)
  const names = [...file.tensors.keys()]
  return Object.fromEntries(
    names.map((name) => [name, { shape: file.tensors.get(name)!.shape, data: file.float32(name) }]),
  )
}

const bytesOf = (values: Values): Uint8Array<ArrayBuffer> =>
  serializeSafetensors(
    Object.fromEntries(
      Object.entries(values).map(([name, value]) => [
        name,
        { ...value, dtype: 'F32' } satisfies TensorData,
      ]),
    ),
  )

const renamed = (values: Values, rename: (name: string) => string): Values =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [rename(name), value]))

const prefixed = (prefix: string, values: Values): Values =>
  renamed(values, (name) => prefix + name)

const only = (values: Values, keep: (name: string) => boolean): Values =>
  Object.fromEntries(Object.entries(values).filter(([name]) => keep(name)))

const doubled = (values: Values): Values =>
  Object.fromEntries(
    Object.entries(values).map(([name, { shape, data }]) => [
      name,
      { shape, data: data.map((x) => 2 * x) },
    ]),
  )

function transposed({ shape: [rows = 0, columns = 0], data }: Value): Value {
  const at = (i: number): number => data[(i % rows) * columns + Math.floor(i / rows)]!
  return {
    shape: [columns, rows],
    data: Float32Array.from({ length: data.length }, (_, i) => at(i)),
  }
}

/** Hugging Face's DINOv2 under the authors' names: query, key and value in one. */
function originalDinov2(values: Values): Values {
  const result: Values = {}
  for (const [name, value] of Object.entries(values)) {
    const part = /^encoder\.layer\.(\d+)\.attention\.attention\.query\.(weight|bias)$/.exec(name)
    if (part) {
      const parts = ['query', 'key', 'value'].map((which) => values[name.replace('query', which)]!)
      const data = Float32Array.from(parts.flatMap(({ data }) => [...data]))
      const shape = [3 * value.shape[0]!, ...value.shape.slice(1)]
      result[`blocks.${part[1]}.attn.qkv.${part[2]}`] = { shape, data }
    } else if (!/attention\.attention/.test(name)) {
      const original = name
        .replace('encoder.layer.', 'blocks.')
        .replace('attention.output.dense', 'attn.proj')
        .replace(/layer_scale(.)\.lambda1/, 'ls$1.gamma')
        .replace('embeddings.patch_embeddings.projection', 'patch_embed.proj')
        .replace('embeddings.position_embeddings', 'pos_embed')
        .replace('embeddings.', '')
        .replace('layernorm.', 'norm.')
      result[original] = value
    }
  }
  return result
}

/** timm's form of the same: registers under another name, the class token's position in the token. */
function timmRegisters(values: Values): Values {
  const { register_tokens, pos_embed, cls_token, ...rest } = originalDinov2(values)
  const [, rows = 0, width = 0] = pos_embed!.shape
  return {
    ...rest,
    reg_token: register_tokens!,
    cls_token: { ...cls_token!, data: cls_token!.data.map((x, i) => x + pos_embed!.data[i]!) },
    pos_embed: { shape: [1, rows - 1, width], data: pos_embed!.data.slice(width) },
  }
}

/** timm's form of OpenAI's vision tower, as its own conversion makes it. */
function timmClip(values: Values): Values {
  const vision = only(values, (name) => name.startsWith('visual.'))
  const { proj, cls, pos_embed, ...rest } = renamed(vision, (name) =>
    name
      .replace('visual.', '')
      .replace('conv1', 'patch_embed.proj')
      .replace('positional_embedding', 'pos_embed')
      .replace('class_embedding', 'cls')
      .replace('transformer.resblocks.', 'blocks.')
      .replace('ln_pre', 'norm_pre')
      .replace('ln_post', 'norm')
      .replace('ln_', 'norm')
      .replace('in_proj_', 'qkv.')
      .replace('out_proj', 'proj')
      .replace('mlp.c_fc', 'mlp.fc1')
      .replace('mlp.c_proj', 'mlp.fc2'),
  )
  return {
    ...rest,
    cls_token: { ...cls!, shape: [1, 1, 128] },
    pos_embed: { ...pos_embed!, shape: [1, ...pos_embed!.shape] },
    'head.weight': transposed(proj!),
    'head.bias': { shape: [64], data: new Float32Array(64) },
  }
}

describeGolden('the names of checkpoints', () => {
  const device = useDevice()

  /** Features of the same random pictures, and what the file was taken for. */
  async function featuresOf(
    values: Values,
  ): Promise<{ scheme: string; registers: number; features: Float32Array }> {
    const model = await modelFromBytes('renamed', bytesOf(values), { device: device() })
    const size = model.preprocess.size ** 2 * 3
    const pixels = Uint8Array.from(randomArray(2 * size, 5, 128), (value) => value + 128)
    const features = await model.embedPixels(pixels)
    const { scheme, config } = model
    await model.dispose()
    return { scheme, registers: config.registers, features }
  }

  it('CLIP: OpenAI, Hugging Face and timm, wrapped or not', async () => {
    const openai = await valuesOf('clip-tiny/openai-names.safetensors')
    const huggingFace = await valuesOf('clip-tiny/model.safetensors')
    const { scheme, features } = await featuresOf(openai)
    expect(scheme).toBe('OpenAI CLIP')
    const variants: [string, Values][] = [
      ['OpenAI CLIP', only(openai, (name) => name.startsWith('visual.'))],
      ['OpenAI CLIP', prefixed('module.', openai)],
      ['Hugging Face CLIP', huggingFace],
      ['Hugging Face CLIP', prefixed('clip.', huggingFace)],
      ['timm CLIP', timmClip(openai)],
    ]
    for (const [expected, values] of variants) {
      const result = await featuresOf(values)
      expect(result.scheme).toBe(expected)
      expect(hashBits(result.features), expected).toBe(hashBits(features))
    }
    const headed = timmClip(openai)
    headed['head.bias']!.data[3] = 0.5
    await expect(featuresOf(headed)).rejects.toThrow(KeeplightError)
    await expect(featuresOf(headed)).rejects.toThrow('head.bias is not zero')
  })

  it('DINO: the authors, Hugging Face, and whole training checkpoints, of which the teacher', async () => {
    const original = await valuesOf('dino-tiny/original-names.safetensors')
    const huggingFace = await valuesOf('dino-tiny/model.safetensors')
    const { scheme, features } = await featuresOf(original)
    expect(scheme).toBe('DINO')
    const student = prefixed('student.module.backbone.', doubled(original))
    const variants: [string, Values][] = [
      ['DINO', prefixed('module.backbone.', original)],
      ['DINO', { ...student, ...prefixed('teacher.backbone.', original) }],
      ['DINO', prefixed('student.', original)],
      ['Hugging Face ViT (DINO)', huggingFace],
      ['Hugging Face ViT (DINO)', prefixed('vit.', huggingFace)],
    ]
    for (const [expected, values] of variants) {
      const result = await featuresOf(values)
      expect(result.scheme).toBe(expected)
      expect(hashBits(result.features), Object.keys(values)[0]).toBe(hashBits(features))
    }
  })

  it('DINOv2: the authors, Hugging Face and timm, with registers and without', async () => {
    for (const [name, prefix] of [
      ['dinov2-tiny', 'dinov2.'],
      ['dinov2-registers-tiny', 'dinov2_with_registers.'],
    ] as const) {
      const huggingFace = await valuesOf(`${name}/model.safetensors`)
      const { features, registers, scheme } = await featuresOf(huggingFace)
      expect(scheme).toBe('Hugging Face DINOv2')
      expect(registers).toBe(name === 'dinov2-tiny' ? 0 : 4)
      const variants: [string, Values][] = [
        ['Hugging Face DINOv2', prefixed(prefix, huggingFace)],
        ['DINOv2', originalDinov2(huggingFace)],
        ['DINOv2', prefixed('teacher.backbone.', originalDinov2(huggingFace))],
      ]
      if (registers > 0) variants.push(['DINOv2', timmRegisters(huggingFace)])
      for (const [expected, values] of variants) {
        const result = await featuresOf(values)
        expect(result.scheme).toBe(expected)
        expect(result.registers).toBe(registers)
        expect(hashBits(result.features), Object.keys(values)[0]).toBe(hashBits(features))
      }
    }
  })

  it('refuses a position table that is no square, by its name', async () => {
    const values = timmRegisters(await valuesOf('dinov2-registers-tiny/model.safetensors'))
    const { pos_embed } = values
    values['pos_embed'] = { shape: [1, 15, 128], data: pos_embed!.data.slice(128) }
    await expect(featuresOf(values)).rejects.toThrow(
      'pos_embed has 15 rows, expected a square grid of patches',
    )
  })

  it("CLIP's text tower: OpenCLIP's forms of OpenAI's names", async () => {
    const openai = await valuesOf('clip-tiny/openai-names.safetensors')
    const { logit_scale, ...rest } = only(openai, (name) => !name.startsWith('visual.'))
    const { text_projection, ...tower } = rest
    const linear = { 'text_projection.weight': transposed(text_projection!) }
    /** Sizes, scale, and the bits of all weights. */
    const read = (values: Values): unknown[] => {
      const { config, weights } = readText(parseSafetensors(bytesOf(values)))
      const { tokens, positions, blocks, finalNorm, projection, logitScale } = weights
      const parts = [finalNorm, ...blocks.flatMap(({ qkv, out, fc1, fc2 }) => [qkv, out, fc1, fc2])]
      const all = [tokens, positions, projection, ...parts.flatMap((p) => [p.weight, p.bias])]
      return [logitScale?.[0], config, ...all.map(hashBits)]
    }
    const expected = read(openai)
    expect(expected[0]).toBe(logit_scale!.data[0])
    const variants: Values[] = [
      { ...tower, ...linear, logit_scale: logit_scale! },
      { ...prefixed('text.', { ...tower, ...linear }), logit_scale: logit_scale! },
      prefixed('module.', { ...prefixed('text.', rest), logit_scale: logit_scale! }),
    ]
    for (const values of variants) expect(read(values)).toEqual(expected)
    expect(read(rest)[0]).toBeUndefined()
    expect(errorOf(() => read(tower)).message).toMatch(/missing: text_projection/)
  })
})

describe('the names of a file that is no encoder', () => {
  it('are told', () => {
    const bytes = bytesOf({ 'some.weight': { shape: [1], data: Float32Array.of(1) } })
    const error = errorOf(() => readText(parseSafetensors(bytes)))
    expect(error.message).toContain('no text tower in the file')
  })
})
