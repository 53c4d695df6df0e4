import type { Metric, Scores } from './scores.ts'

/** A row of a published table: ACC, NMI and ARI in % by data set. */
export interface PublishedRow {
  readonly method: string
  readonly source: string
  /** How the figure was chosen, where that is known. */
  readonly chosen?: string
  readonly scores: Readonly<Record<string, Scores>>
}

/** What the figures of SCP's own rows are. */
export const bestOfFifty = 'best of 50 runs, chosen by labels'

const row = (
  method: string,
  source: string,
  scores: Readonly<Record<string, readonly [number, number, number]>>,
  chosen?: string,
): PublishedRow => ({
  ...{ method, source, chosen },
  scores: Object.fromEntries(
    Object.entries(scores).map(([set, [accuracy, nmi, ari]]) => [set, { accuracy, nmi, ari }]),
  ),
})

const paper = 'Li et al., arXiv 2502.04226'
const temi = 'Adaloglou et al., arXiv 2303.17896'

/** The rows of Tables 2 and 3, and of TEMI's paper, that could be recovered. */
export const publishedRows: readonly PublishedRow[] = [
  row('k-means, CLIP ViT-B/32', paper, {
    stl10: [94.5, 92.2, 89.5],
    cifar10: [75.2, 71.3, 62.6],
    cifar20: [48.1, 50.8, 30.6],
    imagenet10: [98.2, 96.9, 96.1],
    imagenetdogs: [38.1, 39.8, 20.1],
  }),
  row('zero-shot, CLIP ViT-B/32', paper, {
    stl10: [97.1, 93.9, 93.7],
    cifar10: [90.0, 80.7, 79.3],
    cifar20: [58.3, 55.3, 39.8],
    imagenet10: [97.6, 95.8, 94.9],
    imagenetdogs: [72.8, 73.5, 58.2],
  }),
  row(
    'SCP-CLIP, ViT-B/32',
    paper,
    {
      stl10: [97.9, 94.6, 95.1],
      cifar10: [93.2, 85.5, 85.7],
      cifar20: [60.1, 59.5, 44.3],
      imagenet10: [98.5, 97.4, 97.9],
      imagenetdogs: [59.6, 56.3, 44.6],
    },
    bestOfFifty,
  ),
  row(
    'SCP-DINO, ViT-B/8',
    paper,
    {
      stl10: [98.4, 95.8, 96.5],
      cifar10: [95.2, 89.2, 89.8],
      cifar20: [59.3, 58.9, 42.8],
      imagenet10: [98.8, 95.9, 96.7],
      imagenetdogs: [80.5, 77.1, 70.5],
    },
    bestOfFifty,
  ),
  row('TAC, CLIP ViT-B/32', paper, {
    stl10: [98.2, 95.5, 96.1],
    cifar10: [91.9, 83.3, 83.1],
    cifar20: [60.7, 61.1, 44.8],
    imagenet10: [99.2, 98.5, 98.3],
    imagenetdogs: [83.0, 80.6, 72.2],
  }),
  row('TEMI, DINO ViT-B', temi, {
    cifar10: [94.5, 88.6, 88.5],
    cifar100: [67.1, 76.9, 53.3],
  }),
  row('TEMI, CLIP ViT-L', temi, {
    cifar10: [96.9, 92.6, 93.2],
    cifar100: [73.7, 79.9, 61.2],
  }),
]

/** The published rows' name of a data set, from what a user calls it: `ImageNet-Dogs` is `imagenetdogs`. */
export function publishedName(dataset: string): string {
  const plain = dataset.toLowerCase().replace(/[^a-z0-9]/g, '')
  return plain === 'dogs' ? 'imagenetdogs' : plain
}

/** A subset of the three terms of the loss. */
export interface LossTerms {
  readonly crossEntropy: boolean
  readonly confidence: boolean
  readonly entropy: boolean
}

/** A row of Table 4. */
export interface AblationRow {
  readonly name: string
  readonly terms: LossTerms
  /** Published ACC in %, by data set; `collapse` where the paper says so without a figure. */
  readonly published: Readonly<Record<string, number>> | 'collapse'
}

const ablation = (
  name: string,
  [crossEntropy, confidence, entropy]: readonly [boolean, boolean, boolean],
  published: AblationRow['published'],
): AblationRow => ({ name, terms: { crossEntropy, confidence, entropy }, published })

/** The seven subsets in the order of Table 4, with its ACC. */
export const ablationRows: readonly AblationRow[] = [
  ablation('ce', [true, false, false], 'collapse'),
  ablation('ce + con', [true, true, false], 'collapse'),
  ablation('ce + con + ent', [true, true, true], { cifar10: 93.2, cifar20: 60.1 }),
  ablation('con', [false, true, false], 'collapse'),
  ablation('con + ent', [false, true, true], { cifar10: 90.4, cifar20: 53.1 }),
  ablation('ent', [false, false, true], { cifar10: 22.6, cifar20: 16.5 }),
  ablation('ce + ent', [true, false, true], { cifar10: 91.8, cifar20: 52.9 }),
]

/** The published ACC of an ablation on a data set, where there is one. */
export function publishedAblation(row: AblationRow, dataset: string): number | undefined {
  return row.published === 'collapse' ? undefined : row.published[publishedName(dataset)]
}

/** A published score of a method on a data set, where there is one. */
export function publishedScore(
  row: PublishedRow,
  dataset: string,
  metric: Metric,
): number | undefined {
  return row.scores[publishedName(dataset)]?.[metric]
}
