import { describe, expect, it } from 'vitest'
import {
  checkAgainstManifest,
  findManifest,
  hubAddress,
  manifests,
  unknownModel,
} from '../../src/model/manifest.ts'
import { parseManifest } from '../../src/model/manifestFormat.ts'
import { familyPreprocess } from '../../src/model/vit/config.ts'
import { errorOf } from '../support/errorOf.ts'

const tiny = findManifest('keeplight-tiny')!

describe('the list of models', () => {
  it('has every model once, by names that mean no other', () => {
    expect(manifests.map(({ name }) => name)).toEqual([
      'keeplight-tiny',
      ...['clip-vit-b-32', 'clip-vit-b-16', 'clip-vit-l-14'],
      ...['dino-vit-s-16', 'dino-vit-s-8', 'dino-vit-b-16', 'dino-vit-b-8'],
      ...['dinov2-vit-s-14', 'dinov2-vit-b-14'],
      ...['dinov2-vit-s-14-registers', 'dinov2-vit-b-14-registers'],
    ])
    for (const manifest of manifests) {
      for (const name of [manifest.name, ...manifest.aliases]) {
        expect(findManifest(name), name).toBe(manifest)
        expect(findManifest(` ${name.toUpperCase()}`), name).toBe(manifest)
      }
    }
  })

  it.each([
    ['openai/clip-vit-base-patch32', 'clip-vit-b-32'],
    ['clip-vit-base-patch32', 'clip-vit-b-32'],
    ['ViT-B/32', 'clip-vit-b-32'],
    ['ViT-L/14', 'clip-vit-l-14'],
    ['dino_vits16', 'dino-vit-s-16'],
    ['facebook/dino-vitb8', 'dino-vit-b-8'],
    ['dinov2_vits14', 'dinov2-vit-s-14'],
    ['dinov2_vitb14_reg', 'dinov2-vit-b-14-registers'],
    ['facebook/dinov2-with-registers-small', 'dinov2-vit-s-14-registers'],
    ['vit_base_patch16_224.dino', 'dino-vit-b-16'],
  ])('knows %s', (alias, name) => {
    expect(findManifest(alias)?.name).toBe(name)
  })

  it('prepares pictures as the families do, whatever the hub’s own configs say', () => {
    for (const { name, family, preprocess } of manifests) {
      const side = family === 'dinov2' ? 518 : preprocess.size
      expect(preprocess, name).toEqual(familyPreprocess(family, side))
    }
  })

  it('states a licence, and what is unknown', () => {
    for (const { name, family, licence, tokenizer, sha256, sizeSource, notes } of manifests) {
      expect(licence.id, name).toBe(family === 'clip' ? 'MIT' : 'Apache-2.0')
      expect(licence.note !== null, name).toBe(family === 'clip')
      expect(tokenizer !== null, name).toBe(family === 'clip')
      const text = notes.join('\n')
      expect(text.includes('SHA-256 is not known'), name).toBe(sha256 === null)
      expect(text.includes('size is computed'), name).toBe(sizeSource === 'computed')
    }
    const unknown = manifests.filter(({ sha256 }) => sha256 === null).map(({ name }) => name)
    expect(unknown).toEqual(['dino-vit-s-16', 'dinov2-vit-s-14-registers'])
  })

  it('asks pull requests for what main branches lack', () => {
    const address = (name: string): string => {
      const { repository, revision, file } = findManifest(name)!
      return hubAddress({ repository: repository!, revision: revision!, file }).href
    }
    expect(address('clip-vit-b-32')).toBe(
      'https://huggingface.co/openai/clip-vit-base-patch32/resolve/refs%2Fpr%2F15/model.safetensors',
    )
    expect(address('dino-vit-b-16')).toContain('/resolve/refs%2Fpr%2F7/')
    expect(
      hubAddress({ repository: 'a/b', revision: 'main', file: 'c d/e' }, 'http://x/y/').href,
    ).toBe('http://x/y/a/b/resolve/main/c%20d/e')
  })

  it('names what comes nearest to a name that nobody has', () => {
    const message = (name: string): string => unknownModel(name, 'a path').message
    expect(message('clip-vit-b32')).toMatch(/nearest are clip-vit-b-32/)
    expect(message('dinov2-vits14')).toMatch(/nearest are dinov2_vits14,/)
    expect(message('resnet')).not.toMatch(/nearest/)
    expect(message('resnet')).toMatch(/Give a path, or one of: keeplight-tiny, clip-vit-b-32, /)
  })

  it('refuses a file that holds another encoder', () => {
    const model = { config: { family: 'dino' }, dimension: 192 }
    checkAgainstManifest(tiny, model)
    for (const other of [
      { ...model, dimension: 384 },
      { ...model, config: { family: 'clip' } },
    ]) {
      const error = errorOf(() => checkAgainstManifest(tiny, other))
      expect(error.code).toBe('format')
    }
  })
})

describe('parseManifest', () => {
  it('gives back what is whole', () => {
    expect(parseManifest(JSON.parse(JSON.stringify(tiny)))).toEqual(tiny)
  })

  it.each([
    ['name', '../x'],
    ['title', ''],
    ['aliases', 'x'],
    ['family', 'resnet'],
    ['features', 1.5],
    ['repository', '../x'],
    ['repository', 'a/..'],
    ['revision', 'a/../b'],
    ['commit', 'main'],
    ['file', '/etc/passwd'],
    ['file', 'a/../../b'],
    ['size', -1],
    ['size', '7'],
    ['sizeSource', 'guessed'],
    ['sha256', 'abc'],
    ['mirrors', [{ repository: 'a/b', revision: 'main' }]],
    ['tokenizer', { file: '../x', size: 1, sha256: '0'.repeat(64) }],
    ['licence', { id: 'MIT' }],
    ['preprocess', { ...tiny.preprocess, std: [0, 0, 0] }],
    ['preprocess', { ...tiny.preprocess, crop: 1 }],
    ['notes', [1]],
  ])('refuses the %s %j', (field, value) => {
    const error = errorOf(() => parseManifest({ ...tiny, [field]: value }))
    expect(error.code).toBe('format')
    expect(error.message).toContain(`manifest of`)
    expect(error.message).toContain(` ${field} `)
  })

  it.each([
    [null, 'a JSON object'],
    [[], 'a JSON object'],
    [{ ...tiny, extra: 1 }, 'unknown field extra'],
    [{ ...tiny, repository: 'a/b' }, 'belong together'],
    [{ name: 'x' }, 'title should not be nothing'],
  ])('refuses %j', (value, problem) => {
    expect(errorOf(() => parseManifest(value)).message).toContain(problem)
  })
})
