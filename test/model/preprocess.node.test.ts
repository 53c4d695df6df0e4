import sharp from 'sharp'
import { beforeAll, expect, it } from 'vitest'
import { normalizePixels, preprocess } from '../../src/model/preprocess.ts'
import type { Pixels, PreprocessConfig } from '../../src/model/preprocess.ts'
import type { SafetensorsFile } from '../../src/model/safetensors.ts'
import { describeGolden, readGolden, readGoldenTensors } from '../support/golden.ts'
import { expectSameBytes } from '../support/sameBytes.ts'

const configs: Record<'clip' | 'dino', PreprocessConfig> = {
  clip: {
    size: 224,
    resize: 224,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
  },
  dino: { size: 224, resize: 256, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
}

const names = [
  'cifar_32x32',
  'wide_180x400',
  'tall_301x223',
  'big_900x1201',
  'same_224x224',
  'one_1x1',
  'thin_3x500',
  'grey_97x131',
  'alpha_120x90',
  'palette_140x140',
]

/** As Pillow's `convert('RGB')`: no colour management, alpha dropped and not blended. */
async function decodePng(name: string): Promise<Pixels> {
  const { data, info } = await sharp(await readGolden(`preprocess/${name}.png`), {
    ignoreIcc: true,
  })
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data: new Uint8Array(data) }
}

describeGolden("Pillow's preprocessing", () => {
  let expected: SafetensorsFile
  beforeAll(async () => {
    expected = await readGoldenTensors('preprocess/expected.safetensors')
  })

  it('covers every picture of the file', () => {
    expect(names.join()).toBe(expected.metadata.get('names'))
  })

  for (const name of names) {
    for (const family of ['clip', 'dino'] as const) {
      it(`${name}, ${family}: the same bytes`, async () => {
        const { data } = preprocess(await decodePng(name), configs[family])
        expectSameBytes(data, expected.bytes(`${name}/${family}_uint8`))
      })
    }
  }

  it.each(['cifar_32x32/clip', 'cifar_32x32/dino', 'wide_180x400/clip', 'wide_180x400/dino'])(
    '%s: the normalised floats',
    async (key) => {
      const [name, family] = key.split('/') as [string, 'clip' | 'dino']
      const pixels = preprocess(await decodePng(name), configs[family])
      const floats = normalizePixels([pixels], configs[family])
      const golden = expected.float32(key)
      expect(floats.length).toBe(golden.length)
      let worst = 0
      for (let i = 0; i < golden.length; i++) {
        worst = Math.max(worst, Math.abs(floats[i] - golden[i]))
      }
      expect(worst).toBeLessThan(1e-6)
    },
  )
})
