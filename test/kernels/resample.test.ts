import { describe, expect, it } from 'vitest'
import { resampleKernel, type ResampleMode } from '../../src/kernels/resample.ts'
import { normalizationTable, normalizeImagesKernel } from '../../src/kernels/normalizeImages.ts'
import { randomBits } from '../../src/kernels/random.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { framed } from '../support/framed.ts'
import { randomArray } from '../support/random.ts'

const bytes = (size: number, seed: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: size }, (_, i) => randomBits(seed, 3, i))

describe('resample', () => {
  const device = useDevice()

  interface Case {
    batch: number
    outer: number
    inputs: number
    outputs: number
    inner: number
    perImage: boolean
  }

  async function check(mode: ResampleMode, sizes: Case): Promise<void> {
    const { batch, outer, inputs, outputs, inner, perImage } = sizes
    const fromBytes = mode === 'fixed' || mode === 'bytesToFloats'
    const toBytes = mode === 'fixed' || mode === 'floatsToBytes'
    const count = batch * outer * inputs * inner
    const x = fromBytes
      ? bytes(count, 1)
      : randomArray(count, 1).map((value) => (toBytes ? 150 * value + 100 : value))
    const tables = perImage ? batch : 1
    const stride = Math.min(3, inputs)
    // Spans of 1 to `stride` inputs, all over the axis.
    const spans = Uint32Array.from({ length: tables * outputs * 2 }, (_, i) => {
      const output = Math.floor(i / 2)
      const length = 1 + (output % stride)
      return i % 2 === 1 ? length : (output * 7) % (inputs - length + 1)
    })
    const factors = randomArray(tables * outputs * stride, 2)
    const weights =
      mode === 'fixed' ? Int32Array.from(factors, (w) => w * 2 ** 22) : Float32Array.from(factors)
    const size = batch * outer * outputs * inner
    const out = framed(device(), toBytes ? 'u8' : 'f32', [batch, outer, outputs, inner])
    device().dispatch(
      resampleKernel({ mode }),
      {
        x: device().tensor(x, [count]),
        spans: device().tensor(spans, [tables, outputs, 2]),
        weights: device().tensor(weights, [tables, outputs, stride]),
        out: out.tensor,
      },
      { size, outer, inputs, outputs, inner, stride, perImage: perImage ? 1 : 0 },
    )
    const expected = Float64Array.from({ length: size }, (_, index) => {
      const line = Math.floor(index / inner / outputs)
      const image = Math.floor(line / outer)
      const output = (Math.floor(index / inner) % outputs) + (perImage ? image * outputs : 0)
      let sum = 0
      for (let t = 0; t < spans[2 * output + 1]!; t++) {
        const input = line * inputs + spans[2 * output]! + t
        sum += x[input * inner + (index % inner)]! * weights[output * stride + t]!
      }
      return mode === 'fixed' ? Math.floor((sum + 2 ** 21) / 2 ** 22) : sum
    })
    const name = JSON.stringify({ mode, ...sizes })
    const actual = await out.read()
    if (mode === 'fixed') {
      expect([...actual], name).toEqual([...Uint8ClampedArray.from(expected)])
    } else if (toBytes) {
      const clamped = expected.map((value) => Math.min(Math.max(value, 0), 255))
      const off = [...actual].map((byte, i) => Math.abs(byte - clamped[i]!))
      expect(Math.max(...off), name).toBeLessThanOrEqual(0.5 + 1e-3)
    } else expectClose(name, actual, expected, 1e-6)
  }

  it('equals plain loops around a workgroup, in every mode', async () => {
    for (const mode of ['fixed', 'bytesToFloats', 'floats', 'floatsToBytes'] as const) {
      const sizes = { batch: 2, outer: 3, inputs: 9, outputs: 5, inner: 3 }
      await check(mode, { ...sizes, perImage: false })
      await check(mode, { ...sizes, perImage: true })
      // Sizes of one image's output: 64 threads of one float or of four bytes.
      for (const outputs of [1, 63, 64, 65, 255, 256, 257]) {
        await check(mode, { batch: 1, outer: 1, inputs: 4, outputs, inner: 1, perImage: false })
      }
      await check(mode, { batch: 3, outer: 2, inputs: 1, outputs: 2, inner: 7, perImage: true })
    }
  })
})

describe('normalizeImages', () => {
  const device = useDevice()

  it.each([
    [1, 1, 3],
    [1, 21, 3],
    [1, 64, 1],
    [3, 65, 3],
  ])('equals its table at every pixel: %i pictures of %i pixels, %i channels', async (...sizes) => {
    const [batch, area, channels] = sizes
    const x = bytes(batch * area * channels, 5)
    const mean = [0.5, 0.25, 0.125].slice(0, channels)
    const std = [0.3, 0.2, 0.1].slice(0, channels)
    const out = framed(device(), 'f32', [batch, channels, area])
    device().dispatch(
      normalizeImagesKernel,
      {
        x: device().tensor(x, [batch, area, channels]),
        table: device().tensor(normalizationTable(mean, std), [channels, 256]),
        out: out.tensor,
      },
      { size: x.length, area, channels },
    )
    const expected = Float64Array.from(x, (_, i) => {
      const [image, channel, pixel] = [
        Math.floor(i / area / channels),
        Math.floor(i / area) % channels,
        i % area,
      ]
      return (
        (x[(image * area + pixel) * channels + channel]! / 255 - mean[channel]!) / std[channel]!
      )
    })
    expectClose(`${batch}×${area}`, await out.read(), expected, 1e-6)
  })
})
