import sharp from 'sharp'
import type { Pixels, PreprocessConfig } from '../../src/model/preprocess.ts'
import { readGolden } from './golden.ts'

/** How the goldens were prepared. */
export const configs: Record<'clip' | 'dino', PreprocessConfig> = {
  clip: {
    size: 224,
    resize: 224,
    mean: [0.48145466, 0.4578275, 0.40821073],
    std: [0.26862954, 0.26130258, 0.27577711],
  },
  dino: { size: 224, resize: 256, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
}

/** Pictures of the goldens. */
export const names = [
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
export async function decodePng(name: string): Promise<Pixels> {
  const { data, info } = await sharp(await readGolden(`preprocess/${name}.png`), {
    ignoreIcc: true,
  })
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, data: new Uint8Array(data) }
}
