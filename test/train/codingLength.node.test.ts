import { describe, expect, it } from 'vitest'
import { logDeterminants } from '../../src/train/cholesky.ts'
import {
  clusterMoments,
  codingLength,
  makeCoder,
  partitionLengths,
} from '../../src/train/codingLength.ts'
import { chooseK, decide, defaultRange, evenRows } from '../../src/train/chooseK.ts'
import { mergeClusters } from '../../src/train/mergeClusters.ts'
import { adjustedRandIndex } from '../../src/train/metrics.ts'
import { symmetricEigen } from '../../src/train/symmetricEigen.ts'
import { normalizeRows } from '../../src/model/features.ts'
import { blobs, stretched, subspaces, type ClusterSet } from '../support/clusterSets.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

/** XᵀX in f64. */
function products(x: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const s = new Float64Array(columns * columns)
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        s[i * columns + j] += x[r * columns + i] * x[r * columns + j]
      }
    }
  }
  return s
}

/** ln |det| by Gaussian elimination with row exchanges. */
function logDeterminant(matrix: number[][]): number {
  const a = matrix.map((row) => [...row])
  let sum = 0
  for (let c = 0; c < a.length; c++) {
    const pivot = a.slice(c).reduce((p, row, i) => {
      return Math.abs(row[c]) > Math.abs(a[p][c]) ? c + i : p
    }, c)
    ;[a[c], a[pivot]] = [a[pivot], a[c]]
    sum += Math.log(Math.abs(a[c][c]))
    for (let r = c + 1; r < a.length; r++) {
      const factor = a[r][c] / a[c][c]
      for (let k = c; k < a.length; k++) a[r][k] -= factor * a[c][k]
    }
  }
  return sum
}

/** The formula as it stands, in f64: Σⱼ (mⱼ + D)/2 · ln det(I + D/(ε·mⱼ)·ZⱼᵀZⱼ) − mⱼ·ln(mⱼ/N). */
function lengthByFormula(set: ClusterSet, assignments: Int32Array, epsilon: number): number {
  const { count, dimension: d, data } = set
  let total = 0
  for (const cluster of new Set(assignments)) {
    const rows = [...assignments.keys()].filter((row) => assignments[row] === cluster)
    const z = rows.flatMap((row) => [...data.subarray(row * d, (row + 1) * d)])
    const s = products(z, rows.length, d)
    const matrix = Array.from({ length: d }, (_, i) =>
      Array.from({ length: d }, (__, j) => {
        return (i === j ? 1 : 0) + (d / (epsilon * rows.length)) * s[i * d + j]
      }),
    )
    total += ((rows.length + d) / 2) * logDeterminant(matrix)
    total -= rows.length * Math.log(rows.length / count)
  }
  return total
}

const small = (): ClusterSet => {
  const set = blobs({ seed: 7, k: 3, count: 90, dimension: 6 }, 0.5)
  normalizeRows(set.data, set.dimension)
  return set
}

describe('on the host', () => {
  it('logDeterminants: of all leading parts, as elimination finds them', () => {
    const [rows, n] = [9, 7]
    const s = products(randomArray(rows * n, 3), rows, n)
    const found = logDeterminants(s, n, 2.5)
    for (let p = 1; p <= n; p++) {
      const part = Array.from({ length: p }, (_, i) =>
        Array.from({ length: p }, (__, j) => (i === j ? 1 : 0) + 2.5 * s[i * n + j]),
      )
      expect(found[p - 1]).toBeCloseTo(logDeterminant(part), 10)
    }
    expect([...logDeterminants(s, 3, 2.5, n)]).toEqual([...found.subarray(0, 3)])
    s[0] = NaN
    expect(errorOf(() => logDeterminants(s, n, 1)).message).toMatch(/pivot 0 is NaN/)
  })

  it.each([1, 2, 3, 17, 40])('symmetricEigen: A·v = λ·v and vᵀv = 1, n = %i', (n) => {
    const a = products(randomArray(n * n, n), n, n).map((x, i) => x - (i % (n + 1) ? 0 : 0.3))
    const { values, vectors } = symmetricEigen(a, n)
    let worst = 0
    for (let i = 0; i < n; i++) {
      for (let r = 0; r < n; r++) {
        let [image, inner] = [0, 0]
        for (let c = 0; c < n; c++) {
          image += a[r * n + c] * vectors[i * n + c]
          inner += vectors[i * n + c] * vectors[r * n + c]
        }
        const identity = inner - (i === r ? 1 : 0)
        worst = Math.max(
          worst,
          Math.abs(image - values[i] * vectors[i * n + r]),
          Math.abs(identity),
        )
      }
    }
    expect(worst).toBeLessThan(1e-12 * n)
    expect([...values]).toEqual([...values].sort((x, y) => y - x))
  })

  it('symmetricEigen: takes what is diagonal, or zero, already', () => {
    expect([...symmetricEigen([1, 0, 0, 0, 3, 0, 0, 0, 2], 3).values]).toEqual([3, 2, 1])
    expect([...symmetricEigen(new Float64Array(16), 4).values]).toEqual([0, 0, 0, 0])
  })

  it('decide: the shortest code, or one as short whose restarts agree clearly more', () => {
    const at = (k: number, codingLength: number, stability: number) => {
      return { k, codingLength, codingLengthDeviation: 10, stability, stabilityError: 0.05 }
    }
    expect(decide([at(2, 130, 1), at(3, 105, 0.6), at(4, 100, 0.6)])).toEqual({
      k: 4,
      candidates: [3, 4],
    })
    expect(decide([at(3, 105, 0.69), at(4, 100, 0.6)]).k).toBe(4)
    expect(decide([at(3, 105, 0.71), at(4, 100, 0.6)]).k).toBe(3)
    expect(decide([at(3, 111, 1), at(4, 100, 0.6)]).k).toBe(4)
  })

  it('defaultRange and evenRows', () => {
    expect(defaultRange(300)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    expect(defaultRange(4)).toEqual([2])
    const range = defaultRange(1_000_000)
    expect([range[0], range.at(-1)]).toEqual([2, 50])
    expect(range.every((k, i) => i === 0 || k > range[i - 1])).toBe(true)
    const data = Float32Array.from({ length: 10 }, (_, i) => i)
    const sample = evenRows({ count: 5, dimension: 2, data }, 2)
    expect([[...sample.rows], [...sample.data]]).toEqual([
      [0, 2],
      [0, 1, 4, 5],
    ])
    expect([...evenRows({ count: 5, dimension: 2, data }, 9).rows]).toEqual([0, 1, 2, 3, 4])
  })
})

describe('coding length', () => {
  const device = useDevice()

  it('is its formula, whatever the clusters are called', async () => {
    const set = small()
    const renamed = set.labels.map((label) => 9 - 2 * label)
    for (const epsilon of [0.1, 1]) {
      const expected = lengthByFormula(set, set.labels, epsilon)
      const options = { device: device(), epsilon }
      const length = await codingLength(set, renamed, options)
      expect(Math.abs(length / expected - 1)).toBeLessThan(1e-6)
    }
    const error = await rejectionOf(codingLength(set, set.labels.slice(1), { device: device() }))
    expect(error.message).toMatch(/got 89 assignments/)
  })

  it('in all principal directions is the same, and shares the code of the others', async () => {
    const set = small()
    const { dimension, labels } = set
    const coder = await makeCoder(device(), set, 0.1, dimension)
    const lengths = partitionLengths(await clusterMoments(coder.z, labels), coder)
    const whole = await codingLength(set, labels, { device: device() })
    expect(Math.abs(lengths[dimension - 1] / whole - 1)).toBeLessThan(1e-6)
    // One cluster: what is shared behind p directions is a code of its own for them.
    const one = partitionLengths(await clusterMoments(coder.z, new Uint8Array(90)), coder)
    const { values } = symmetricEigen(products(set.data, 90, dimension), dimension)
    const log = values.map((value) => Math.log1p((dimension / (0.1 * 90)) * value))
    const part = (from: number, to: number): number =>
      ((90 + to - from) / 2) * log.subarray(from, to).reduce((sum, x) => sum + x, 0)
    for (let p = 1; p <= dimension; p++) {
      expect(Math.abs(one[p - 1] / (part(0, p) + part(p, dimension)) - 1)).toBeLessThan(1e-5)
    }
    coder.z.dispose()
  })

  it('merging finds clusters of which it was given pieces', async () => {
    const set = subspaces({ seed: 4, k: 3, count: 360, dimension: 12 }, 2, 0.02)
    normalizeRows(set.data, set.dimension)
    // Each cluster in four pieces, by turns.
    const pieces = set.labels.map((label, i) => label * 4 + (i % 4))
    const coder = await makeCoder(device(), set, 0.1, set.dimension)
    const path = mergeClusters(await clusterMoments(coder.z, pieces), coder, set.dimension)
    expect(path.map((names) => new Set(names).size)).toEqual(path.map((_, i) => i + 1))
    const found = pieces.map((piece) => path[2][piece])
    expect(adjustedRandIndex(set.labels, found)).toBe(1)
    coder.z.dispose()
  })
})

describe('chooseK', () => {
  const device = useDevice()

  it.each([
    ['round clusters', () => blobs({ seed: 5, k: 4, count: 240, dimension: 16 }, 0.4), 4],
    [
      'long ones of unequal sizes',
      () => stretched({ seed: 2, k: 5, count: 400, dimension: 16 }, 0.4),
      5,
    ],
  ])('finds %s', async (_, make, k) => {
    const set = make()
    const before = device().stats().usedBytes
    const options = { device: device(), range: [2, 3, 4, 5, 6, 7, 9], restarts: 3, seed: 1 }
    const result = await chooseK(set, options)
    expect(result.k).toBe(k)
    expect(result.structured).toBe(true)
    expect(result.curve.map((score) => score.k)).toEqual(options.range)
    const chosen = result.curve.find((score) => score.k === k)!
    expect(chosen.stability).toBeGreaterThan(0.8)
    expect(chosen.silhouette).toBeGreaterThan(0.1)
    expect(chosen.calinskiHarabasz).toBeGreaterThan(10)
    expect(device().stats().usedBytes).toBe(before)
  })

  it('says when there is nothing to find, and refuses what it cannot take', async () => {
    const set = { count: 60, dimension: 8, data: randomArray(480, 3) }
    const options = { device: device(), restarts: 2, range: [2, 3] }
    const result = await chooseK(set, options)
    expect(result.structured).toBe(false)
    expect(await chooseK(set, options)).toEqual(result)
    const fails = async (change: object): Promise<string> =>
      (await rejectionOf(chooseK(set, { ...options, ...change }))).message
    expect(await fails({ range: [3, 2] })).toMatch(/range is \[3, 2\], expected rising/)
    expect(await fails({ range: [2, 60] })).toMatch(/from 2 to 59/)
    expect(await fails({ restarts: 1 })).toMatch(/restarts is 1, expected 2/)
    expect(await fails({ signal: AbortSignal.abort() })).toMatch(/stopped/)
  })
})
