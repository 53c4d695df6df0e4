import { afterEach, describe, expect, it } from 'vitest'
import { scaleKernel } from '../../src/kernels/elementwise.ts'
import { linear } from '../../src/runtime/ops/matmul.ts'
import { topK } from '../../src/runtime/ops/topK.ts'
import { scope } from '../../src/runtime/tensor.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'

/** Small whole numbers, of which f32 sums are exact. */
const wholeNumbers = (size: number): Float32Array<ArrayBuffer> => {
  const data = new Float32Array(size)
  for (let i = 0; i < size; i++) data[i] = ((i * 7919) % 15) - 7
  return data
}

describe('tensors of real size', () => {
  const device = useDevice()
  afterEach(() => device().trim())

  it.each([2 ** 24 + 1, 2 ** 25 + 65])('scale %i elements exactly', async (size) => {
    const data = wholeNumbers(size)
    const out = scope(() => {
      const x = device().tensor(data, [size])
      const y = device().empty([size])
      device().dispatch(scaleKernel, { x, out: y }, { size, scale: 0.5 })
      return y
    })
    const scaled = await out.read()
    expect(scaled.findIndex((value, i) => value !== data[i]! * 0.5)).toBe(-1)
    out.dispose()
  })

  it('multiply by a weight of 130 MiB exactly', async () => {
    const [features, inner] = [65 * 2 ** 13, 64]
    const weight = wholeNumbers(features * inner)
    const x = Float32Array.from({ length: 2 * inner }, (_, i) => (i % 5) - 2)
    const out = scope(() => {
      const w = device().tensor(weight, [features, inner])
      expect(w.byteLength).toBeGreaterThan(device().maxBindingBytes)
      return linear(device().tensor(x, [2, inner]), w)
    })
    const y = await out.read()
    let wrong = 0
    for (let i = 0; i < y.length; i++) {
      const [row, column] = [Math.floor(i / features), i % features]
      let sum = 0
      for (let k = 0; k < inner; k++) sum += x[row * inner + k]! * weight[column * inner + k]!
      if (y[i] !== sum) wrong++
    }
    expect(wrong).toBe(0)
    out.dispose()
  })

  // A software adapter that starts threads slowly takes half a minute for each of these.
  it.each([65_535, 65_536, 65_537])('take %i rows, a workgroup each', async (rows) => {
    const data = wholeNumbers(rows)
    const { values } = scope(() => topK(device().tensor(data, [rows, 1]), 1))
    expect(hashBits(await values.read())).toBe(hashBits(data))
    values.dispose()
  })
})
