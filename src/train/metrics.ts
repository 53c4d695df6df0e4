import munkres from 'munkres'
import { KeeplightError } from '../runtime/errors.ts'

/**
 * Scores of a clustering against known labels, as scikit-learn and SciPy compute them. Labels and
 * clusters are integers from 0, of any range, with gaps or without; which cluster has which number
 * never matters.
 */

/** How often each label meets each cluster; only those that occur have a row or column. */
export interface Contingency {
  /** Distinct labels, ascending: one row each. */
  readonly labels: readonly number[]
  /** Distinct clusters, ascending: one column each. */
  readonly clusters: readonly number[]
  /** [labels, clusters], row-major. */
  readonly counts: Int32Array
  /** Number of items. */
  readonly total: number
}

/** Cells of a table; with more, labels and clusters are certainly not what they seem. */
const MAX_CELLS = 2 ** 26

function invalid(problem: string): KeeplightError {
  return new KeeplightError('validation', problem)
}

function checkItems(labels: ArrayLike<number>, predictions: ArrayLike<number>): void {
  if (labels.length !== predictions.length) {
    throw invalid(
      `Scores need a label for every prediction, got ${labels.length} labels and ` +
        `${predictions.length} predictions.`,
    )
  }
  if (labels.length === 0) throw invalid('Scores need at least one item, got none.')
  for (const [name, values] of Object.entries({ labels, predictions })) {
    for (let i = 0; i < values.length; i++) {
      if (!Number.isSafeInteger(values[i]) || values[i] < 0) {
        throw invalid(`${name}[${i}] should be an integer from 0, got ${values[i]}.`)
      }
    }
  }
}

function checkCells(rows: number, columns: number): void {
  if (rows * columns > MAX_CELLS) {
    throw invalid(
      `A table of ${rows} labels by ${columns} clusters is too large: at most ${MAX_CELLS} cells.`,
    )
  }
}

/** Distinct values in ascending order, and the position of each. */
function distinct(values: ArrayLike<number>): { values: number[]; index: Map<number, number> } {
  const sorted = [...new Set(Array.from(values))].sort((a, b) => a - b)
  return { values: sorted, index: new Map(sorted.map((value, i) => [value, i])) }
}

/**
 * Counts how often each label meets each cluster.
 *
 * @param labels the true classes, one for each item
 * @param predictions the clusters, one for each item
 * @throws KeeplightError `validation`: unequal lengths, no items, values that aren't integers from 0
 */
export function contingency(
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): Contingency {
  checkItems(labels, predictions)
  const rows = distinct(labels)
  const columns = distinct(predictions)
  const width = columns.values.length
  checkCells(rows.values.length, width)
  const counts = new Int32Array(rows.values.length * width)
  for (let i = 0; i < labels.length; i++) {
    counts[rows.index.get(labels[i])! * width + columns.index.get(predictions[i])!]++
  }
  return { labels: rows.values, clusters: columns.values, counts, total: labels.length }
}

/** A confusion matrix over all labels and clusters, those included that never occur. */
export interface ConfusionMatrix {
  /** Rows: the labels 0 to `classes` - 1. */
  readonly classes: number
  /** Columns: the clusters 0 to `clusters` - 1. */
  readonly clusters: number
  /** [classes, clusters], row-major. */
  readonly counts: Int32Array
}

/**
 * Counts by label (rows) and cluster (columns), empty ones included.
 *
 * @param size rows and columns; by default one more than the largest label and the largest cluster
 * @throws KeeplightError `validation`: as {@link contingency}, or a value beyond `size`
 */
export function confusionMatrix(
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
  size: { readonly classes?: number; readonly clusters?: number } = {},
): ConfusionMatrix {
  const table = contingency(labels, predictions)
  const largestLabel = table.labels[table.labels.length - 1]
  const largestCluster = table.clusters[table.clusters.length - 1]
  const { classes = largestLabel + 1, clusters = largestCluster + 1 } = size
  if (largestLabel >= classes || largestCluster >= clusters) {
    throw invalid(
      `A matrix of ${classes} labels by ${clusters} clusters cannot hold label ${largestLabel} ` +
        `and cluster ${largestCluster}.`,
    )
  }
  checkCells(classes, clusters)
  const counts = new Int32Array(classes * clusters)
  table.labels.forEach((label, row) => {
    table.clusters.forEach((cluster, column) => {
      counts[label * clusters + cluster] = table.counts[row * table.clusters.length + column]
    })
  })
  return { classes, clusters, counts }
}

/**
 * The one-to-one map from clusters to labels under which most items agree (Hungarian algorithm).
 *
 * With unequal numbers the surplus clusters stay without a label, or labels without a cluster.
 *
 * @returns label by cluster, in the order of the clusters
 * @throws KeeplightError `validation`: as {@link contingency}
 */
export function matchClusters(
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): Map<number, number> {
  return bestMatch(contingency(labels, predictions)).map
}

function bestMatch(table: Contingency): { map: Map<number, number>; matched: number } {
  const { labels, clusters, counts, total } = table
  // Costs from 0: the items of a cluster that a label would get wrong. A rectangular matrix is
  // solved as if padded with equal costs.
  const costs = clusters.map((_, column) =>
    labels.map((_, row) => total - counts[row * clusters.length + column]),
  )
  const pairs = munkres(costs).sort(([a], [b]) => a - b)
  let matched = 0
  const map = new Map<number, number>()
  for (const [column, row] of pairs) {
    map.set(clusters[column], labels[row])
    matched += counts[row * clusters.length + column]
  }
  return { map, matched }
}

/**
 * ACC: the share of items whose cluster maps to their label, under the best one-to-one map.
 *
 * @returns 0 to 1
 * @throws KeeplightError `validation`: as {@link contingency}
 */
export function clusteringAccuracy(
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): number {
  const table = contingency(labels, predictions)
  return bestMatch(table).matched / table.total
}

/** Items by label and by cluster. */
function marginals({ labels, clusters, counts }: Contingency): {
  rows: number[]
  columns: number[]
} {
  const rows = labels.map(() => 0)
  const columns = clusters.map(() => 0)
  counts.forEach((count, i) => {
    rows[Math.floor(i / clusters.length)] += count
    columns[i % clusters.length] += count
  })
  return { rows, columns }
}

/**
 * NMI: mutual information over the arithmetic mean of the two entropies, as scikit-learn's
 * `normalized_mutual_info_score`.
 *
 * @returns 0 to 1; 1 when there is one label and one cluster
 * @throws KeeplightError `validation`: as {@link contingency}
 */
export function normalizedMutualInformation(
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): number {
  const table = contingency(labels, predictions)
  const { counts, total } = table
  const { rows, columns } = marginals(table)
  if (rows.length === 1 && columns.length === 1) return 1

  let information = 0
  counts.forEach((count, i) => {
    if (count === 0) return
    const row = rows[Math.floor(i / columns.length)]
    const column = columns[i % columns.length]
    information += (count / total) * (Math.log(count / row) - Math.log(column / total))
  })
  const entropy = (sums: number[]) =>
    sums.reduce((sum, count) => sum - (count / total) * Math.log(count / total), 0)
  // Rounding may leave a trace of either sign where there is no information.
  if (information <= Number.EPSILON) return 0
  return Math.min(1, information / ((entropy(rows) + entropy(columns)) / 2))
}

/**
 * ARI: the Rand index corrected for chance (Hubert and Arabie, 1985), as scikit-learn's
 * `adjusted_rand_score`.
 *
 * @returns -0.5 to 1, 0 on average for random clusters
 * @throws KeeplightError `validation`: as {@link contingency}
 */
export function adjustedRandIndex(
  labels: ArrayLike<number>,
  predictions: ArrayLike<number>,
): number {
  const table = contingency(labels, predictions)
  const { rows, columns } = marginals(table)
  const { total } = table
  const pairs = (counts: Iterable<number>) => {
    let sum = 0
    for (const count of counts) sum += (count * (count - 1)) / 2
    return sum
  }
  const together = pairs(table.counts)
  const sameLabel = pairs(rows)
  const sameCluster = pairs(columns)
  // Every pair is judged alike by both, trivial partitions included.
  if (sameLabel === together && sameCluster === together) return 1
  const expected = (sameLabel / ((total * (total - 1)) / 2)) * sameCluster
  return (together - expected) / ((sameLabel + sameCluster) / 2 - expected)
}
