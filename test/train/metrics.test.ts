import { describe, expect, it } from 'vitest'
import { randomBits } from '../../src/kernels/random.ts'
import {
  adjustedRandIndex,
  clusteringAccuracy,
  confusionMatrix,
  contingency,
  matchClusters,
  normalizedMutualInformation,
} from '../../src/train/metrics.ts'
import { errorOf } from '../support/errorOf.ts'
import { describeGolden, readGoldenJson } from '../support/golden.ts'

function randomLabels(count: number, kinds: number, stream: number): number[] {
  return Array.from({ length: count }, (_, i) => randomBits(11, stream, i) % kinds)
}

function permutations(values: number[]): number[][] {
  if (values.length === 0) return [[]]
  return values.flatMap((value, i) =>
    permutations(values.filter((_, j) => j !== i)).map((rest) => [value, ...rest]),
  )
}

/** ACC by trying every map from clusters to labels, both padded to the same number. */
function accuracyByTrying(labels: number[], predictions: number[], kinds: number): number {
  const all = Array.from({ length: kinds }, (_, i) => i)
  const matched = permutations(all).map(
    (map) => labels.filter((label, i) => map[predictions[i]] === label).length,
  )
  return Math.max(...matched) / labels.length
}

/** ARI by its definition over all pairs. */
function randIndexByPairs(labels: number[], predictions: number[]): number {
  let both = 0
  let byLabel = 0
  let byCluster = 0
  let pairs = 0
  for (let i = 0; i < labels.length; i++) {
    for (let j = 0; j < i; j++) {
      const sameLabel = labels[i] === labels[j]
      const sameCluster = predictions[i] === predictions[j]
      pairs++
      if (sameLabel) byLabel++
      if (sameCluster) byCluster++
      if (sameLabel && sameCluster) both++
    }
  }
  const expected = (byLabel * byCluster) / pairs
  return (both - expected) / ((byLabel + byCluster) / 2 - expected)
}

const scores = { clusteringAccuracy, normalizedMutualInformation, adjustedRandIndex }

describe('known values', () => {
  it('a clustering that renames the labels is perfect', () => {
    const labels = [0, 0, 1, 2, 2, 2, 3]
    const renamed = labels.map((label) => [30, 7, 0, 1_000_000][label])
    for (const score of Object.values(scores)) expect(score(labels, renamed)).toBeCloseTo(1, 12)
    expect(matchClusters(labels, renamed)).toEqual(
      new Map([
        [0, 2],
        [7, 1],
        [30, 0],
        [1_000_000, 3],
      ]),
    )
  })

  it('one cluster for everything tells nothing', () => {
    const labels = [0, 0, 1, 1, 1, 2]
    expect(clusteringAccuracy(labels, [4, 4, 4, 4, 4, 4])).toBe(0.5)
    expect(normalizedMutualInformation(labels, [4, 4, 4, 4, 4, 4])).toBe(0)
    expect(adjustedRandIndex(labels, [4, 4, 4, 4, 4, 4])).toBe(0)
  })

  it('a small table, by hand', () => {
    const labels = [0, 0, 0, 1, 1, 1]
    const predictions = [0, 0, 1, 1, 1, 1]
    expect(clusteringAccuracy(labels, predictions)).toBeCloseTo(5 / 6, 12)
    // Entropies ln 2 and ln 6 - (2 ln 2 + 4 ln 4) / 6.
    const information = (2 / 6) * Math.log(2) + (1 / 6) * Math.log(1 / 2) + 0.5 * Math.log(3 / 2)
    const entropy = Math.log(6) - (2 * Math.log(2) + 4 * Math.log(4)) / 6
    const nmi = information / ((Math.log(2) + entropy) / 2)
    expect(normalizedMutualInformation(labels, predictions)).toBeCloseTo(nmi, 12)
    // Pairs: 4 in both, 6 by label, 7 by cluster, 15 in all.
    expect(adjustedRandIndex(labels, predictions)).toBeCloseTo((4 - 2.8) / (6.5 - 2.8), 12)
  })

  it('a single item, and every item alone', () => {
    for (const score of Object.values(scores)) {
      expect(score([5], [9])).toBe(1)
      expect(score([0, 1, 2], [2, 0, 1])).toBeCloseTo(1, 12)
    }
  })
})

describe('against the definitions', () => {
  it.each([
    [5, 5],
    [5, 3],
    [2, 6],
    [1, 4],
  ])('%i labels, %i clusters', (classes, clusters) => {
    for (let stream = 0; stream < 10; stream++) {
      const labels = randomLabels(60, classes, 2 * stream)
      const noise = randomLabels(60, clusters, 2 * stream + 1)
      const predictions = noise.map((cluster, i) => (i % 3 ? cluster : labels[i] % clusters))
      const kinds = Math.max(classes, clusters)
      expect(clusteringAccuracy(labels, predictions)).toBe(
        accuracyByTrying(labels, predictions, kinds),
      )
      expect(adjustedRandIndex(labels, predictions)).toBeCloseTo(
        randIndexByPairs(labels, predictions),
        12,
      )
    }
  })

  it('the matching reaches the accuracy and uses no label twice', () => {
    for (const [classes, clusters] of [
      [6, 6],
      [4, 9],
      [9, 4],
    ]) {
      const labels = randomLabels(200, classes, 50)
      const predictions = randomLabels(200, clusters, 51)
      const map = matchClusters(labels, predictions)
      expect(map.size).toBe(Math.min(classes, clusters))
      expect(new Set(map.values()).size).toBe(map.size)
      expect([...map.keys()]).toEqual([...map.keys()].sort((a, b) => a - b))
      const matched = labels.filter((label, i) => map.get(predictions[i]) === label).length
      expect(matched / 200).toBe(clusteringAccuracy(labels, predictions))
    }
  })

  it('names of labels and clusters, and the order of items, do not matter', () => {
    const labels = randomLabels(300, 7, 60)
    const predictions = labels.map((label, i) => (i % 4 ? label : randomBits(12, 0, i) % 5))
    const renamed = predictions.map((cluster) => 2 ** 40 - 3 * cluster)
    for (const score of Object.values(scores)) {
      expect(score(labels, renamed)).toBeCloseTo(score(labels, predictions), 12)
      const reversed = score([...labels].reverse(), [...predictions].reverse())
      expect(reversed).toBeCloseTo(score(labels, predictions), 12)
    }
    for (const score of [normalizedMutualInformation, adjustedRandIndex]) {
      expect(score(predictions, labels)).toBeCloseTo(score(labels, predictions), 12)
    }
  })
})

describe('tables', () => {
  const labels = Int32Array.of(0, 0, 5, 5, 5)
  const predictions = Uint8Array.of(3, 1, 1, 1, 3)

  it('contingency: what occurs, labels down, clusters across', () => {
    expect(contingency(labels, predictions)).toEqual({
      labels: [0, 5],
      clusters: [1, 3],
      counts: Int32Array.of(1, 1, 2, 1),
      total: 5,
    })
  })

  it('confusionMatrix: empty labels and clusters included', () => {
    const matrix = confusionMatrix(labels, predictions)
    expect([matrix.classes, matrix.clusters]).toEqual([6, 4])
    const cells = [...matrix.counts].flatMap((count, i) => (count ? [[i >> 2, i & 3, count]] : []))
    expect(cells).toEqual([
      [0, 1, 1],
      [0, 3, 1],
      [5, 1, 2],
      [5, 3, 1],
    ])
    const wide = confusionMatrix([0, 1], [0, 0], { classes: 3, clusters: 2 })
    expect([...wide.counts]).toEqual([1, 0, 1, 0, 0, 0])
    const error = errorOf(() => confusionMatrix([0, 3], [0, 1], { classes: 3 }))
    expect(error.message).toMatch(/3 labels by 2 clusters cannot hold label 3/)
  })
})

describe('what is refused', () => {
  it.each<[string, number[], number[], RegExp]>([
    ['unequal lengths', [0, 1], [0], /got 2 labels and 1 predictions/],
    ['nothing', [], [], /at least one item/],
    ['a negative label', [0, -1], [0, 0], /labels\[1\] .* got -1/],
    ['a fraction', [0, 0], [0.5, 0], /predictions\[0\] .* got 0.5/],
    ['NaN', [NaN], [0], /labels\[0\] .* got NaN/],
  ])('%s', (_, labels, predictions, message) => {
    for (const score of [...Object.values(scores), contingency, confusionMatrix, matchClusters]) {
      const error = errorOf(() => score(labels, predictions))
      expect(error.code).toBe('validation')
      expect(error.message).toMatch(message)
    }
  })

  it('a matrix that cannot be held', () => {
    const error = errorOf(() => confusionMatrix([1e9], [1e9]))
    expect(error.message).toMatch(/too large/)
    const many = Array.from({ length: 10_000 }, (_, i) => i)
    expect(errorOf(() => clusteringAccuracy(many, many)).message).toMatch(/10000 labels by 10000/)
  })
})

describeGolden('scikit-learn and SciPy', () => {
  it('ACC, NMI and ARI of every case', async () => {
    type Case = { labels: number[]; predictions: number[]; acc: number; nmi: number; ari: number }
    const cases = await readGoldenJson<Case[]>('metrics.json')
    expect(cases.length).toBeGreaterThan(0)
    for (const { labels, predictions, acc, nmi, ari } of cases) {
      expect(Math.abs(clusteringAccuracy(labels, predictions) - acc)).toBeLessThan(1e-9)
      expect(Math.abs(normalizedMutualInformation(labels, predictions) - nmi)).toBeLessThan(1e-9)
      expect(Math.abs(adjustedRandIndex(labels, predictions) - ari)).toBeLessThan(1e-9)
    }
  })
})
