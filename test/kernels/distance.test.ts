import { describe, expect, it } from 'vitest'
import { centreSplits, nearestCentreKernel } from '../../src/kernels/nearestCentre.ts'
import { mergeNearestKernel, nearestRowsKernel } from '../../src/kernels/nearestRows.ts'
import type { KernelVariant } from '../../src/kernels/kernel.ts'
import * as reference from '../reference/distance.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { framed } from '../support/framed.ts'
import { kernelVariants } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

/** Multiples of 1/8: sums of their squared differences are exact, so that ties are ties. */
const coarse = (size: number, seed: number): Float32Array =>
  randomArray(size, seed).map((value) => Math.round(value * 8) / 8)

describe('nearestCentre', () => {
  const device = useDevice()

  interface Case {
    rows: number
    dimension: number
    restarts: number
    k: number
    splits?: number
  }

  async function check(variant: KernelVariant, sizes: Case): Promise<void> {
    const { rows, dimension, restarts, k } = sizes
    const { splits = centreSplits(variant, restarts, k) } = sizes
    const x = coarse(rows * dimension, 1)
    const y = coarse(restarts * k * dimension, 2)
    const nearest = framed(device(), 'u32', [rows, restarts])
    const squared = framed(device(), 'f32', [rows, restarts])
    device().dispatch(
      nearestCentreKernel({ variant }),
      {
        x: device().tensor(x, [rows, dimension]),
        y: device().tensor(y, [restarts * k, dimension]),
        nearest: nearest.tensor,
        squared: squared.tensor,
      },
      { rows, dimension, restarts, k, first: 0, splits },
    )
    const all = reference.squaredDistances(x, y, dimension)
    const numbers = reference.smallest(all, k, 1).flat()
    const name = JSON.stringify({ variant, ...sizes })
    expect([...(await nearest.read())], name).toEqual(numbers)
    const distances = numbers.map((c, i) => all[i * k + c]!)
    expect([...(await squared.read())], name).toEqual(distances)
  }

  it('equals a full search, ties to the lowest number, around its tiles', async () => {
    for (const variant of kernelVariants(device())) {
      for (const rows of [1, 15, 16, 17, 31, 32, 33, 63, 64, 65]) {
        await check(variant, { rows, dimension: 5, restarts: 3, k: 7 })
      }
      for (const k of [1, 15, 16, 17, 33])
        await check(variant, { rows: 9, dimension: 3, restarts: 2, k })
      for (const dimension of [1, 15, 16, 17, 33]) {
        await check(variant, { rows: 9, dimension, restarts: 1, k: 6 })
      }
      for (const splits of [1, 2, 3, 4, 9]) {
        await check(variant, { rows: 66, dimension: 4, restarts: 5, k: 3, splits })
      }
    }
  })
})

describe('nearestRows', () => {
  const device = useDevice()

  interface Case {
    rows: number
    width: number
    dimension: number
    k: number
    /** Rows of y of each dispatch; all by default. */
    part?: number
    splits?: number
    self?: number
  }

  async function check(variant: KernelVariant, sizes: Case): Promise<void> {
    const { rows, width, dimension, k, part = width, splits = 1, self } = sizes
    const y = coarse(width * dimension, 2)
    const x =
      self === undefined
        ? coarse(rows * dimension, 1)
        : y.slice(self * dimension, (self + rows) * dimension)
    const nearest = framed(device(), 'u32', [splits, rows, k])
    const squared = framed(device(), 'f32', [splits, rows, k])
    for (let first = 0; first < width; first += part) {
      const height = Math.min(part, width - first)
      device().dispatch(
        nearestRowsKernel({ variant }),
        {
          x: device().tensor(x, [rows, dimension]),
          y: device().tensor(y.slice(first * dimension, (first + height) * dimension), [
            height,
            dimension,
          ]),
          nearest: nearest.tensor,
          squared: squared.tensor,
        },
        {
          rows,
          width: height,
          dimension,
          k,
          first,
          own: self ?? 0,
          others: self === undefined ? 0 : 1,
          resume: first > 0 ? 1 : 0,
          splits,
        },
      )
    }
    const merged = {
      nearest: framed(device(), 'u32', [rows, k]),
      squared: framed(device(), 'f32', [rows, k]),
    }
    await nearest.read()
    await squared.read()
    device().dispatch(
      mergeNearestKernel,
      {
        nearestParts: nearest.tensor,
        squaredParts: squared.tensor,
        nearest: merged.nearest.tensor,
        squared: merged.squared.tensor,
      },
      { rows, k, splits },
    )
    const all = reference.squaredDistances(x, y, dimension)
    const skip = (row: number): number => (self === undefined ? -1 : self + row)
    const expected = reference.smallest(all, width, k, skip)
    // Places that no row is left for.
    const filled = expected.map((line) => [...line, ...Array<number>(k).fill(-1)].slice(0, k))
    const name = JSON.stringify({ variant, ...sizes })
    expect([...(await merged.nearest.read())], name).toEqual(filled.flat().map((i) => i >>> 0))
    const distances = filled.flatMap((line, row) =>
      line.map((i) => (i < 0 ? Math.fround(3.4e38) : all[row * width + i]!)),
    )
    expect([...(await merged.squared.read())], name).toEqual(distances)
  }

  it('equals sorting, ties by number, around its tiles', async () => {
    for (const variant of kernelVariants(device())) {
      for (const rows of [1, 15, 16, 17, 31, 32, 33, 63, 64, 65]) {
        await check(variant, { rows, width: 20, dimension: 3, k: 5 })
      }
      for (const width of [1, 15, 16, 17, 100]) {
        await check(variant, { rows: 7, width, dimension: 4, k: Math.min(width, 9) })
      }
      await check(variant, { rows: 3, width: 90, dimension: 2, k: 64 })
      await check(variant, { rows: 3, width: 4, dimension: 2, k: 6 })
    }
  })

  it('leaves the row itself out, and takes y in parts and splits', async () => {
    for (const variant of kernelVariants(device())) {
      const sizes = { rows: 35, width: 70, dimension: 3, k: 8 }
      await check(variant, { ...sizes, self: 33 })
      await check(variant, { ...sizes, part: 19, self: 2 })
      await check(variant, { ...sizes, part: 30, splits: 3 })
      await check(variant, { ...sizes, part: 5, splits: 8, self: 0 })
    }
  })
})

describe('squared distances', () => {
  const device = useDevice()

  it('are accurate for rows that are close together and far from zero', async () => {
    const [rows, k, dimension] = [40, 10, 192]
    const base = randomArray(dimension, 5, 100)
    const near = (count: number, seed: number): Float32Array =>
      randomArray(count * dimension, seed, 1e-2).map((value, i) => base[i % dimension]! + value)
    const [x, y] = [near(rows, 6), near(k, 7)]
    for (const variant of kernelVariants(device())) {
      const nearest = framed(device(), 'u32', [rows, k])
      const squared = framed(device(), 'f32', [rows, k])
      device().dispatch(
        nearestCentreKernel({ variant }),
        {
          x: device().tensor(x, [rows, dimension]),
          y: device().tensor(y, [k, dimension]),
          nearest: nearest.tensor,
          squared: squared.tensor,
        },
        { rows, dimension, restarts: k, k: 1, first: 0, splits: 1 },
      )
      const expected = reference.squaredDistances(x, y, dimension)
      // ‖x‖² − 2x·c + ‖c‖² in f32 would be off by ten times the distance itself here.
      expectClose(variant, (await squared.read()) as Float32Array, expected, 1e-6)
    }
  })
})
