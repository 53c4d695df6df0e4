import { describe, expect, it } from 'vitest'
import { SEED_BLOCK } from '../../src/kernels/kmeans.ts'
import { seedCentres, type Chunk } from '../../src/train/kmeansSeeding.ts'
import * as reference from '../reference/kmeansSeeding.ts'
import { useDevice } from '../support/device.ts'
import { kernelVariants } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('seedCentres', () => {
  const device = useDevice()

  interface Case {
    count: number
    dimension: number
    k: number
    restarts: number
    /** Rows of a chunk. */
    chunk?: number
  }

  async function seed(
    data: Float32Array,
    sizes: Case,
    seed: number,
    variant = device().kernelVariant,
  ): Promise<number[][]> {
    const { count, dimension, k, restarts, chunk = count } = sizes
    const chunks: Chunk[] = []
    for (let start = 0; start < count; start += chunk) {
      const rows = Math.min(chunk, count - start)
      const part = data.slice(start * dimension, (start + rows) * dimension)
      chunks.push({ start, rows, x: device().tensor(part, [rows, dimension]) })
    }
    const settings = { count, dimension, k, restarts, seed, variant }
    const centres = seedCentres(device(), data, chunks, settings)
    const values = await centres.read()
    for (const { x } of chunks) x.dispose()
    centres.dispose()
    return Array.from({ length: restarts * k }, (_, c) => [
      ...values.subarray(c * dimension, (c + 1) * dimension),
    ])
  }

  it.each<Case>([
    { count: 1, dimension: 3, k: 1, restarts: 2 },
    { count: 31, dimension: 2, k: 4, restarts: 3 },
    { count: SEED_BLOCK - 1, dimension: 5, k: 3, restarts: 2 },
    { count: SEED_BLOCK, dimension: 5, k: 3, restarts: 2 },
    { count: SEED_BLOCK + 1, dimension: 5, k: 9, restarts: 5 },
    { count: 3 * SEED_BLOCK + 7, dimension: 4, k: 5, restarts: 2, chunk: SEED_BLOCK },
    { count: 3 * SEED_BLOCK + 7, dimension: 4, k: 5, restarts: 2, chunk: 2 * SEED_BLOCK },
  ])('takes the rows that plain loops take: %o', async (sizes) => {
    const { count, dimension, k, restarts } = sizes
    // Coarse values: every sum is exact.
    const data = randomArray(count * dimension, 4).map((value) => Math.round(value * 8) / 8)
    const expected = Array.from({ length: restarts }, (_, stream) =>
      reference.seedRows(data, { count, dimension, k, seed: 11, stream }),
    )
    const rows = expected
      .flat()
      .map((row) => [...data.subarray(row * dimension, (row + 1) * dimension)])
    for (const variant of kernelVariants(device())) {
      const before = device().stats().usedBytes
      expect(await seed(data, sizes, 11, variant), variant).toEqual(rows)
      expect(device().stats().usedBytes).toBe(before)
    }
  })

  it('finds every group of far apart groups, and never takes a row twice', async () => {
    const [count, dimension, k] = [200, 6, 10]
    const data = randomArray(count * dimension, 8, 0.1)
    // Group g lies at 10·(1 + ⌊g / dimension⌋) on axis g mod dimension.
    for (let row = 0; row < count; row++) {
      const group = row % k
      data[row * dimension + (group % dimension)]! += 10 * (1 + Math.floor(group / dimension))
    }
    const sizes = { count, dimension, k, restarts: 4 }
    const centres = await seed(data, sizes, 3)
    for (let run = 0; run < 4; run++) {
      const groups = centres.slice(run * k, (run + 1) * k).map((centre) => {
        return data.findIndex((_, i) => {
          return i % dimension === 0 && centre.every((value, d) => value === data[i + d])
        })
      })
      expect(new Set(groups.map((i) => (i / dimension) % k)).size).toBe(k)
    }
    expect(await seed(data, sizes, 3)).toEqual(centres)
    expect(await seed(data, sizes, 4)).not.toEqual(centres)
  })

  it('takes some row when all rows are equal', async () => {
    const data = new Float32Array(20).fill(0.5)
    const centres = await seed(data, { count: 10, dimension: 2, k: 3, restarts: 2 }, 1)
    expect(centres).toEqual(Array(6).fill([0.5, 0.5]))
  })
})
