import sharp from 'sharp'
import type {
  ReportCluster,
  ReportData,
  ReportGroup,
  ReportImage,
  ReportTile,
} from '../../src/cli/report/data.ts'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'

/** A report's data with drawn pictures, one kind a cluster; `nameOf` names the files. */
export async function sampleReport(
  perCluster: number,
  nameOf: (cluster: number, image: number) => string,
): Promise<ReportData> {
  const clusters = await Promise.all(
    sceneKinds.map(async (kind, id): Promise<ReportCluster> => {
      const images = await Promise.all(
        Array.from({ length: perCluster }, (_, i) => sampleImage(id, i, nameOf(id, i))),
      )
      const gap = perCluster > 12
      return {
        id,
        size: perCluster + (gap ? 9 : 0),
        confidence: 0.97,
        surest: gap ? images.slice(0, -4) : images,
        omitted: gap ? 9 : 0,
        leastSure: gap ? images.slice(-4) : [],
        majority: { label: kind, share: 0.95 },
      }
    }),
  )
  const steps = Array.from({ length: 600 }, (_, i) => i + 1)
  return {
    title: 'sample <photos> & "more"',
    subtitle: `400 images in ${clusters.length} clusters by keeplight-tiny, in 3 min 12 s on llvmpipe`,
    imageCount: clusters.reduce((sum, { size }) => sum + size, 0),
    clusters,
    scores: [
      { method: 'SCP', accuracy: 0.968, nmi: 0.951, ari: 0.94, inertia: 0.312, agreement: 1 },
      {
        method: 'k-means on features',
        accuracy: 0.871,
        nmi: 0.9,
        ari: 0.83,
        inertia: 0.301,
        agreement: 0.8,
      },
      {
        method: 'k-means on raw pixels',
        accuracy: 0.312,
        nmi: 0.27,
        ari: 0.12,
        inertia: 0.59,
        agreement: 0.11,
      },
    ],
    confusion: {
      classes: sceneKinds,
      counts: sceneKinds.map((_, i) =>
        sceneKinds.map((__, j) => (i === j ? 36 : (i + j) % 5 === 0 ? 2 : 0)),
      ),
    },
    choice: {
      ...{ k: 8, candidates: [7, 8], structured: true, single: 91_000, sample: 400, restarts: 5 },
      ...{ partitions: 'k-means', directions: 40 },
      curve: [2, 4, 6, 7, 8, 9, 10, 12].map((k) => ({
        k,
        codingLength: 80_000 + 120 * (k - 8) ** 2,
        codingLengthDeviation: 150,
        stability: k === 8 ? 0.97 : 0.6 - k / 100,
        stabilityError: 0.02,
        silhouette: k === 12 ? NaN : 0.3 - Math.abs(k - 8) / 30,
        calinskiHarabasz: 220 - 12 * k,
      })),
    },
    trace: steps.map((step) => ({
      step,
      learningRate: 1e-3,
      total: -9 + 9 * Math.exp(-step / 90) + 0.15 * Math.sin(step),
      crossEntropy: 2.3 * Math.exp(-step / 120),
      confidence: 2.3 * Math.exp(-step / 80),
      negativeEntropy: -4.6 + Math.exp(-step / 50),
    })),
    restarts: {
      restarts: [
        { seed: 0, inertia: 0.3321, loss: -8.91, accuracy: 0.91 },
        { seed: 1, inertia: 0.312, loss: -9.01, accuracy: 0.968 },
        { seed: 2, inertia: NaN, loss: NaN, diverged: { step: 12, terms: [] } },
      ],
      inertia: { mean: 0.32205, deviation: 0.0142, best: 0.312 },
      loss: { mean: -8.96, deviation: 0.07, best: -9.01 },
      accuracy: { mean: 0.939, deviation: 0.041, best: 0.968 },
    },
    kept: 1,
    broken: [{ path: nameOf(0, 0), message: 'damaged: premature end of JPEG image' }],
    settings: [
      ['folder', '/home/me/photos'],
      ['model', 'keeplight-tiny'],
      ['clusters', '8'],
    ],
    timings: [
      ['embedding', '1 min 40 s'],
      ['training', '48 s'],
    ],
  }
}

async function sampleImage(cluster: number, image: number, path: string): Promise<ReportImage> {
  const { width, height, data } = drawScene(sceneKinds[cluster], image)
  // Upright and wide formats beside each other, as in any folder of photos.
  const crop = image % 4 === 3 ? { width: 84, height: 112 } : { width: 149, height: 112 }
  const bytes = await sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ ...crop, fit: 'cover' })
    .webp()
    .toBuffer()
  const assignment = {
    path,
    cluster,
    probability: 0.999 - image * 0.012,
    runnerUp: (cluster + 1) % sceneKinds.length,
    runnerUpProbability: image * 0.01,
    label: sceneKinds[image % 11 === 10 ? (cluster + 1) % sceneKinds.length : cluster],
  }
  return { assignment, href: path, thumbnail: { ...crop, bytes } }
}

/** The sections on findings and certainty, with pictures of the contact sheets. */
export function sampleFindings({
  clusters,
}: ReportData): Required<Pick<ReportData, 'toLook' | 'certainty'>> {
  const images = clusters.flatMap(({ surest }) => surest)
  const tile = (i: number, note: string): ReportTile => {
    const { assignment, href, thumbnail } = images[i % images.length]
    return { path: assignment.path, href, thumbnail, note, about: `${note}, at length` }
  }
  const group = (first: number, notes: readonly string[]): ReportGroup => ({
    tiles: notes.map((note, i) => ({ ...tile(first + i, note), best: i === 0 })),
    omitted: first,
  })
  return {
    certainty: {
      uncertain: 4,
      most: [0, 1, 2].map((i) => tile(i, `${i} · 99.9 %`)),
      least: [3, 4, 5].map((i) => tile(i, `${i} · 30.0 %`)),
    },
    toLook: {
      copies: {
        total: 30,
        spare: 41,
        groups: [
          group(0, ['640×480', 'same bytes', 'mirrored']),
          group(4, ['9×9', 'turned right and mirrored']),
        ],
      },
      lookAlikes: {
        ...{ total: 2, threshold: 0.912, background: 0.104 },
        groups: [group(2, ['640×480', '0.953'])],
      },
      issues: [
        { kind: 'blurry', total: 1, tiles: [tile(6, '0.021')] },
        { kind: 'odd-shape', total: 14, tiles: [tile(7, '380×60'), tile(8, '900×90')] },
      ],
    },
  }
}
