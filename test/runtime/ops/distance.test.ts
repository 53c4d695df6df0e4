import { describe, expect, it } from 'vitest'
import { nearestCentre, nearestRows } from '../../../src/runtime/ops/distance.ts'
import * as reference from '../../reference/distance.ts'
import { expectClose } from '../../support/compare.ts'
import { useDevice } from '../../support/device.ts'
import { errorOf } from '../../support/errorOf.ts'
import { kernelVariants } from '../../support/kernels.ts'
import { randomArray } from '../../support/random.ts'

describe('nearestCentre', () => {
  const device = useDevice()

  it('goes on from an earlier search as if it had seen all centres at once', async () => {
    const [rows, dimension, k, restarts] = [70, 6, 5, 2]
    const x = device().tensor(randomArray(rows * dimension, 1), [rows, dimension])
    const all = randomArray(restarts * k * dimension, 2)
    const centres = device().tensor(all, [restarts * k, dimension])
    const half = (first: number, count: number) => {
      const parts = [0, 1].map((run) => {
        const start = (run * k + first) * dimension
        return [...all.subarray(start, start + count * dimension)]
      })
      return device().tensor(Float32Array.from(parts.flat()), [restarts * count, dimension])
    }
    const whole = nearestCentre(x, centres, { restarts })
    const found = nearestCentre(x, half(0, 2), { restarts })
    nearestCentre(x, half(2, 3), { restarts, from: { ...found, first: 2 } })
    expect([...(await found.nearest.read())]).toEqual([...(await whole.nearest.read())])
    expect([...(await found.squared.read())]).toEqual([...(await whole.squared.read())])
  })

  it('refuses what does not fit, by name', () => {
    const x = device().empty([4, 3])
    expect(errorOf(() => nearestCentre(x, device().empty([2, 4]))).message).toBe(
      'nearestCentre: centres f32[2, 4] have 4 columns, x f32[4, 3] has 3',
    )
    const centres = device().empty([5, 3])
    expect(errorOf(() => nearestCentre(x, centres, { restarts: 2 })).message).toBe(
      "nearestCentre: 5 centres don't divide into 2 restarts",
    )
    expect(errorOf(() => nearestCentre(device().empty([4]), centres)).message).toBe(
      'nearestCentre: x is f32[4], expected f32[rows, columns]',
    )
  })
})

describe('nearestRows', () => {
  const device = useDevice()

  it('gives the same whether y comes whole, in parts or split among workgroups', async () => {
    const [rows, width, dimension, k] = [40, 83, 7, 10]
    const data = randomArray(width * dimension, 3)
    const y = device().tensor(data, [width, dimension])
    const x = device().tensor(data.slice(0, rows * dimension), [rows, dimension])
    const parts = [30, 30, 23].map((height, i) =>
      device().tensor(data.slice(i * 30 * dimension, (i * 30 + height) * dimension), [
        height,
        dimension,
      ]),
    )
    const all = reference.squaredDistances(data.slice(0, rows * dimension), data, dimension)
    const expected = reference.smallest(all, width, k, (row) => row)
    const before = device().stats().usedBytes
    for (const variant of kernelVariants(device())) {
      for (const keys of [y, parts]) {
        const { nearest, squared } = nearestRows(x, keys, { k, self: 0, variant })
        expect([...(await nearest.read())], variant).toEqual(expected.flat())
        const distances = expected.flatMap((line, row) => line.map((i) => all[row * width + i]!))
        expectClose(variant, await squared.read(), distances, 1e-6)
        nearest.dispose()
        squared.dispose()
      }
    }
    expect(device().stats().usedBytes).toBe(before)
  })

  it('refuses more neighbours than there are, and more than its lists hold', () => {
    const x = device().empty([4, 3])
    expect(errorOf(() => nearestRows(x, x, { k: 4, self: 0 })).message).toMatch(
      /^nearestRows: k is 4, expected 1 to 3: at most 128/,
    )
    const y = device().empty([300, 3])
    expect(errorOf(() => nearestRows(x, y, { k: 129 })).message).toMatch(/expected 1 to 128/)
  })
})
