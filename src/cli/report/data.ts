import type { Assignment } from '../../train/assignments.ts'
import type { ChooseKResult } from '../../train/chooseK.ts'

/** A picture of a contact sheet. */
export interface ReportImage {
  readonly assignment: Assignment
  /** Path from the report to the image file, where one exists. */
  readonly href?: string
  /** WebP bytes; undefined when the file could not be read again. */
  readonly thumbnail?: {
    readonly width: number
    readonly height: number
    readonly bytes: Uint8Array
  }
}

export interface ReportCluster {
  readonly id: number
  readonly size: number
  /** Median of its images' probabilities; 0 when empty. */
  readonly confidence: number
  /** Pictures in order of falling probability; `omitted` ones lie between the two parts. */
  readonly surest: readonly ReportImage[]
  readonly omitted: number
  readonly leastSure: readonly ReportImage[]
  /** The most frequent class and its share, where labels exist. */
  readonly majority?: { readonly label: string; readonly share: number }
}

/** How good a partition is. ACC, NMI and ARI need labels; the others don't. */
export interface Score {
  readonly method: string
  readonly accuracy?: number
  readonly nmi?: number
  readonly ari?: number
  /** Mean squared distance of the normalised features to their cluster's mean: lower is tighter. */
  readonly inertia: number
  /** Adjusted Rand index between this partition and SCP's. */
  readonly agreement: number
}

/** One step of training: the loss, its three terms, and the learning rate. */
export interface TracePoint {
  readonly step: number
  readonly total: number
  readonly crossEntropy: number
  readonly confidence: number
  readonly negativeEntropy: number
}

export interface Restart {
  readonly seed: number
  readonly inertia: number
  readonly loss: number
}

/** Everything that the report shows. */
export interface ReportData {
  readonly title: string
  /** One line below the title. */
  readonly subtitle: string
  readonly imageCount: number
  readonly clusters: readonly ReportCluster[]
  readonly scores: readonly Score[]
  /** Rows are classes, columns clusters; absent without labels. */
  readonly confusion?: {
    readonly classes: readonly string[]
    readonly counts: readonly (readonly number[])[]
  }
  /** How the number of clusters was chosen; absent when it was given. */
  readonly choice?: ChooseKResult | undefined
  readonly trace: readonly TracePoint[]
  readonly restarts: readonly Restart[]
  /** Index of the restart that was kept. */
  readonly kept: number
  readonly broken: readonly { readonly path: string; readonly message: string }[]
  readonly settings: readonly (readonly [string, string])[]
  readonly timings: readonly (readonly [string, string])[]
}
