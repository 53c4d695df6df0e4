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
    kmeans: {
      accuracy: spread(59.8, 0.8, 5),
      nmi: spread(49.3, 0.5, 5),
      ari: spread(37.2, 0.4, 5),
      kept: { accuracy: 59.2, nmi: 48.9, ari: 37 },
    },
    scp: {
      keeplight: {
        accuracy: spread(67.9, 2.2, 12),
        nmi: spread(51.6, 1.2, 12),
        ari: spread(45, 1.8, 12),
        kept: { accuracy: 69.3, nmi: 52.8, ari: 46.3 },
      },
      paper: {
        accuracy: spread(47.8, 4.5, 12),
        nmi: spread(37.5, 3.4, 12),
        ari: spread(27.7, 4.1, 12),
        kept: { accuracy: 54.6, nmi: 43.6, ari: 35.9 },
      },
    },
  },
}

export const referenceSource = 'PyTorch 2.15 and scikit-learn, golden/reference-runs.md'
