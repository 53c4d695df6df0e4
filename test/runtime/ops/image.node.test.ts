import { beforeAll, expect, it } from 'vitest'
import { centreWindow, shortestEdgeSize } from '../../../src/model/preprocess.ts'
import type { SafetensorsFile } from '../../../src/model/safetensors.ts'
import { normalizeImages, resizeImages } from '../../../src/runtime/ops/image.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { describeGolden, readGoldenTensors } from '../../support/golden.ts'
import { configs, decodePng, names } from '../../support/pillowPictures.node.ts'
import { expectSameBytes } from '../../support/sameBytes.ts'

describeGolden("Pillow's preprocessing on the GPU", () => {
  const device = useDevice()
  let expected: SafetensorsFile
  beforeAll(async () => {
    expected = await readGoldenTensors('preprocess/expected.safetensors')
  })

  it.each(names)('%s: the same bytes, and the floats made of them', async (name) => {
    const pixels = await decodePng(name)
    const { width, height } = pixels
    const x = device().tensor(Uint8Array.from(pixels.data), [1, height, width, 3])
    for (const family of ['clip', 'dino'] as const) {
      const config = configs[family]
      const resized = shortestEdgeSize(pixels, config.resize)
      const window = centreWindow(resized.width, resized.height, config.size)
      const out = resizeImages(x, resized.width, resized.height, window)
      expect(out.shape).toEqual([1, 224, 224, 3])
      expectSameBytes(await out.read(), expected.bytes(`${name}/${family}_uint8`))
      const key = `${name}/${family}`
      if (expected.tensors.has(key)) {
        const floats = await normalizeImages(out, config).read()
        expectClose(key, floats, expected.float32(key), 1e-6)
      }
    }
  })
})
