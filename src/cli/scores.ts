import {
  adjustedRandIndex,
  clusteringAccuracy,
  matchClusters,
  normalizedMutualInformation,
} from '../index.node.ts'
import { confusionMatrix } from '../train/metrics.ts'

/** How far a partition agrees with labels. */
export interface Agreement {
  readonly accuracy: number
  readonly nmi: number
  readonly ari: number
}

/** One class, and the cluster that the best one-to-one map gives it; none where clusters are fewer. */
export interface ClassScore {
  readonly label: string
  readonly images: number
  readonly cluster?: string
  /** Share of the class that lies in its cluster. */
  readonly recall: number
  /** Share of the cluster that is of the class. */
  readonly precision: number
}

/** ACC, NMI and ARI of clusters against labels, both numbered from 0. */
export function agreementOf(labels: Int32Array, clusters: Int32Array): Agreement {
  return {
    accuracy: clusteringAccuracy(labels, clusters),
    nmi: normalizedMutualInformation(labels, clusters),
    ari: adjustedRandIndex(labels, clusters),
  }
}

/** A partition against labels in detail: by class, and as a matrix (rows are classes). */
export function compareInDetail(
  labels: Int32Array,
  classes: readonly string[],
  clusters: Int32Array,
  names: readonly string[],
): { readonly perClass: ClassScore[]; readonly confusion: number[][] } {
  const size = { classes: classes.length, clusters: names.length }
  const { counts } = confusionMatrix(labels, clusters, size)
  const confusion = classes.map((_, i) => [
    ...counts.subarray(i * names.length, (i + 1) * names.length),
  ])
  const clusterOf = new Map([...matchClusters(labels, clusters)].map(([c, label]) => [label, c]))
  const perClass = classes.map((label, i): ClassScore => {
    const images = confusion[i].reduce((sum, count) => sum + count, 0)
    const cluster = clusterOf.get(i)
    if (cluster === undefined) return { label, images, recall: 0, precision: 0 }
    const matched = confusion[i][cluster]
    const all = confusion.reduce((sum, row) => sum + row[cluster], 0)
    return {
      ...{ label, images, cluster: names[cluster] },
      recall: matched / images,
      precision: all > 0 ? matched / all : 0,
    }
  })
  return { perClass, confusion }
}
