import { beforeAll, expect, it } from 'vitest'
import { normalizePixels, preprocess } from '../../src/model/preprocess.ts'
import type { SafetensorsFile } from '../../src/model/safetensors.ts'
import { describeGolden, readGoldenTensors } from '../support/golden.ts'
import { configs, decodePng, names } from '../support/pillowPictures.node.ts'
import { expectSameBytes } from '../support/sameBytes.ts'

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
