import { describe, expect, it } from 'vitest'
import { toF16Kernel, toF32Kernel } from '../../src/kernels/cast.ts'
import { randomBits } from '../../src/kernels/random.ts'
import { floatToHalf, halvesToFloats } from '../../src/model/half.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'

/** Names the first element whose bits differ; the arrays are too long for a readable diff. */
function expectBits(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  from: ArrayLike<number>,
): void {
  const at = Array.from(expected).findIndex((bits, i) => bits !== actual[i])
  const hex = (bits: number | undefined): string => `0x${bits?.toString(16)}`
  expect(at, `of ${hex(from[at])}: expected ${hex(expected[at])}, got ${hex(actual[at])}`).toBe(-1)
}

describe('casts', () => {
  const device = useDevice()

  async function toHalves(bits: Uint32Array<ArrayBuffer>): Promise<Uint16Array> {
    const size = bits.length
    const { out } = await runKernel(
      device(),
      toF16Kernel,
      { x: { data: bits, shape: [size] } },
      { out: [Math.ceil(size / 2)] },
      { size },
    )
    return new Uint16Array(out!.buffer, out!.byteOffset)
  }

  it('widens every f16 exactly', async () => {
    const halves = Uint16Array.from({ length: 65_536 }, (_, i) => i)
    const { out } = await runKernel(
      device(),
      toF32Kernel,
      { x: { data: halves, shape: [65_536] } },
      { out: [65_536] },
      { size: 65_536 },
    )
    const bits = (values: Float32Array): Uint32Array =>
      new Uint32Array(values.buffer, values.byteOffset, values.length)
    expectBits(bits(out!), bits(halvesToFloats(halves)), halves)
  })

  it('rounds f32 to the nearest f16, ties to even, into subnormals and infinity', async () => {
    const edges = [
      0,
      2 ** -24,
      2 ** -25,
      1.5 * 2 ** -24,
      2.5 * 2 ** -24,
      2 ** -14,
      1 - 2 ** -12,
      1 + 2 ** -11,
    ]
    edges.push(
      1 + 3 * 2 ** -11,
      2049,
      2051,
      65_504,
      65_519,
      65_520,
      65_536,
      1e30,
      Infinity,
      2 ** -140,
      2 ** -26,
    )
    const values = Float32Array.from(edges.flatMap((x) => [x, -x]))
    const around = Array.from(new Uint32Array(values.buffer)).flatMap((bits) => [
      bits,
      bits + 1,
      (bits - 1) >>> 0,
    ])
    const spread = Array.from({ length: 10_000 }, (_, i) => randomBits(5, 6, i))
    const bits = Uint32Array.from([...around, ...spread])
    const floats = new Float32Array(bits.buffer)
    expectBits(await toHalves(bits), Array.from(floats, floatToHalf), bits)
  })

  it.each([1, 2, 3, 127, 128, 129])('takes %i values', async (size) => {
    const floats = Float32Array.from({ length: size }, (_, i) => i / 3 - 20)
    const halves = await toHalves(new Uint32Array(floats.buffer))
    expectBits(halves, Array.from(floats, floatToHalf), floats)
  })
})
