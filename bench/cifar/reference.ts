import type { Preset } from '../../src/index.node.ts'
import { spread, type Scores, type Summary } from '../../src/cli/studies/scores.ts'

/** What PyTorch and scikit-learn reached, in %. What was not noted down is absent. */
export interface ReferenceRow {
  readonly accuracy: Summary
  readonly nmi?: Summary
  readonly ari?: Summary
  /** The run of lowest inertia among `accuracy.runs`. */
  readonly kept?: Partial<Scores>
}

export interface ReferenceSize {
  readonly kmeans: ReferenceRow
  readonly scp: Readonly<Partial<Record<Preset, ReferenceRow>>>
}

type Figures = readonly [mean: number, deviation: number]

const expected = (
  runs: number,
  [accuracy, nmi, ari]: readonly [Figures, Figures, Figures],
  [keptAccuracy, keptNmi, keptAri]: readonly [number, number, number],
): Required<ReferenceRow> => ({
  accuracy: spread(...accuracy, runs),
  nmi: spread(...nmi, runs),
  ari: spread(...ari, runs),
  kept: { accuracy: keptAccuracy, nmi: keptNmi, ari: keptAri },
})

/** A row of `reference-runs.md`: how it was made, and what came. */
export interface FeatureRow {
  readonly title: string
  readonly kmeans?: { readonly restarts: number }
  readonly scp?: { readonly noise: number; readonly pairs: number }
  readonly expected: Required<ReferenceRow>
}

/** Trained on the 10,000 training images of the golden features, scored on the 10,000 test images. */
export const featureRows = {
  kmeans1: {
    title: 'k-means, 1 restart',
    kmeans: { restarts: 1 },
    expected: expected(
      12,
      [
        [62.1, 3.3],
        [50, 1.5],
        [38.7, 2.1],
      ],
      [59.2, 48.9, 36.9],
    ),
  },
  kmeans20: {
    title: 'k-means, 20 restarts',
    kmeans: { restarts: 20 },
    expected: expected(
      5,
      [
        [59.8, 0.8],
        [49.3, 0.5],
        [37.2, 0.4],
      ],
      [59.2, 48.9, 37],
    ),
  },
  scp: {
    title: 'SCP',
    scp: { noise: 0, pairs: 0 },
    expected: expected(
      12,
      [
        [47.8, 4.5],
        [37.5, 3.4],
        [27.7, 4.1],
      ],
      [54.6, 43.6, 35.9],
    ),
  },
  noise1: {
    title: 'SCP, noise 1',
    scp: { noise: 1, pairs: 0 },
    expected: expected(
      12,
      [
        [61.5, 5.3],
        [48.3, 3],
        [40.4, 4.4],
      ],
      [69.5, 52.9, 46.9],
    ),
  },
  noise2: {
    title: 'SCP, noise 2',
    scp: { noise: 2, pairs: 0 },
    expected: expected(
      12,
      [
        [65.2, 4],
        [50.2, 1.8],
        [43, 2.9],
      ],
      [69, 52.4, 45.8],
    ),
  },
  '10nn-noise2': {
    title: 'SCP, 10-NN pairs, noise 2',
    scp: { noise: 2, pairs: 10 },
    expected: expected(
      12,
      [
        [67.9, 2.2],
        [51.6, 1.2],
        [45, 1.8],
      ],
      [69.3, 52.8, 46.3],
    ),
  },
  '50nn-noise1': {
    title: 'SCP, 50-NN pairs, noise 1',
    scp: { noise: 1, pairs: 50 },
    expected: expected(
      12,
      [
        [60.4, 4.3],
        [48.1, 1.9],
        [39.5, 2.7],
      ],
      [67.5, 50.9, 44.1],
    ),
  },
} as const satisfies Readonly<Record<string, FeatureRow>>

/**
 * Reference runs on the same features: PyTorch 2.15 and scikit-learn on the CPU, from the golden
 * folder's `reference-runs.md`. Sizes below 10,000 were trained and scored on the first n images;
 * 10,000 was scored on the 10,000 test images. `spread(mean, deviation, runs)`; NaN: not noted down.
 */
export const reference: Readonly<Record<number, ReferenceSize>> = {
  300: {
    kmeans: { accuracy: spread(52, NaN, 5) },
    scp: { keeplight: { accuracy: spread(59.6, 3.8, 5), kept: { accuracy: 63.3 } } },
  },
  1000: {
    kmeans: { accuracy: spread(54.4, NaN, 4) },
    scp: { keeplight: { accuracy: spread(62.5, NaN, 4), kept: { accuracy: 68.8 } } },
  },
  3000: {
    kmeans: { accuracy: spread(68.4, NaN, 5) },
    scp: { keeplight: { accuracy: spread(68.4, 1.9, 5), kept: { accuracy: 69.7 } } },
  },
  10000: {
    kmeans: featureRows.kmeans20.expected,
    scp: {
      keeplight: featureRows['10nn-noise2'].expected,
      paper: featureRows.scp.expected,
    },
  },
}

export const referenceSource = 'PyTorch 2.15 and scikit-learn, golden/reference-runs.md'
