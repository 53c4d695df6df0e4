import type { QualityKind } from '../../data/quality.ts'
import type { Assignment } from '../../train/assignments.ts'
import type { ChooseKResult } from '../../train/chooseK.ts'
import type { RestartScores } from '../restarts.ts'
import type { Cloud } from './cloudData.ts'

/** An image as a report shows it. */
export interface ReportPicture {
  /** Path from the report to the image file, where one exists. */
  readonly href?: string
  /** WebP bytes; undefined when the file could not be read again. */
  readonly thumbnail?: {
    readonly width: number
    readonly height: number
    readonly bytes: Uint8Array
  }
}

/** A picture of a contact sheet. */
export interface ReportImage extends ReportPicture {
  readonly assignment: Assignment
}

/** A picture beside the contact sheets. */
export interface ReportTile extends ReportPicture {
  readonly path: string
  /** A few words on the picture, and more of them when it is pointed at. */
  readonly note: string
  readonly about?: string
  /** Set on the copy to keep. */
  readonly best?: boolean
}

/** Pictures that belong together, and how many of them are not shown. */
export interface ReportGroup {
  readonly tiles: readonly ReportTile[]
  readonly omitted: number
}

/** Images that somebody may want to throw away or mend. */
export interface ToLook {
  readonly copies: {
    /** Groups in all; fewer are shown. */
    readonly total: number
    /** Files beside the best of each group. */
    readonly spare: number
    readonly groups: readonly ReportGroup[]
  }
  readonly lookAlikes?: {
    readonly total: number
    /** Cosine from which two images look alike, and that of two images as a rule. */
    readonly threshold: number
    readonly background: number
    readonly groups: readonly ReportGroup[]
  }
  readonly issues: readonly {
    readonly kind: QualityKind
    readonly total: number
    readonly tiles: readonly ReportTile[]
  }[]
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
  /** Adjusted Rand index between this partition and the trained one. */
  readonly agreement: number
}

/** One step of training: the loss, each of its terms by name, and the learning rate. */
export interface TracePoint {
  readonly step: number
  readonly total: number
  readonly learningRate: number
  readonly [term: string]: number
}

/** Everything that the report shows. */
export interface ReportData {
  readonly title: string
  /** One line below the title. */
  readonly subtitle: string
  readonly imageCount: number
  readonly clusters: readonly ReportCluster[]
  /** Images by similarity, where they were laid out. */
  readonly cloud?: Cloud
  readonly scores: readonly Score[]
  /** Rows are classes, columns clusters; absent without labels. */
  readonly confusion?: {
    readonly classes: readonly string[]
    readonly counts: readonly (readonly number[])[]
  }
  /** How the number of clusters was chosen; absent when it was given. */
  readonly choice?: ChooseKResult | undefined
  readonly trace: readonly TracePoint[]
  readonly restarts: RestartScores
  /** Index of the restart that was kept. */
  readonly kept: number
  readonly broken: readonly { readonly path: string; readonly message: string }[]
  readonly toLook?: ToLook
  /** Images that the head is most and least sure of, and how many it is unsure of. */
  readonly certainty?: {
    readonly uncertain: number
    readonly most: readonly ReportTile[]
    readonly least: readonly ReportTile[]
  }
  readonly settings: readonly (readonly [string, string])[]
  readonly timings: readonly (readonly [string, string])[]
}
