import sharp from 'sharp'
import { tsne, type Device, type TsneResult } from '../index.node.ts'
import { rawEdge } from '../data/decodeMessages.node.ts'
import type { Context } from './context.ts'
import type { Cloud, CloudPoint, CloudSprites } from './report/cloudData.ts'

/** Most pictures in a cloud: about 2 MB of a page. */
const PICTURES = 5000
/** Quality of the sprites, WebP's 0 to 100. */
const QUALITY = 60

/** What is known of an image beside its place. */
export type CloudImage = Omit<CloudPoint, 'x' | 'y'>

export interface CloudInput {
  /** [N, dimension] */
  readonly vectors: Float32Array
  readonly dimension: number
  readonly images: readonly CloudImage[]
  /** N · 32 · 32 · 3: small pictures of the images; empty where there are none. */
  readonly raw: Uint8Array
  /** What the vectors are, for the cloud's text. */
  readonly what: string
}

export interface CloudSettings {
  readonly device: Device
  /** Images that are laid out at most; of more, every so manieth. */
  readonly limit: number
  readonly seed: number
  readonly perplexity?: number
  readonly iterations?: number
}

/** Numbers of `wanted` rows at most, evenly spaced among all. */
export function evenly(count: number, wanted: number): number[] {
  const size = Math.min(count, wanted)
  return Array.from({ length: size }, (_, i) => Math.floor((i * count) / size))
}

export interface LaidOut {
  readonly cloud: Cloud
  /** Rows of the input that the cloud's points are. */
  readonly rows: readonly number[]
  readonly result: TsneResult
}

/** Lays images out by t-SNE of their vectors, and gathers their small pictures. */
export async function makeCloud(
  { vectors, dimension, images, raw, what }: CloudInput,
  { limit, ...settings }: CloudSettings,
  { terminal, signal }: Context,
): Promise<LaidOut> {
  const rows = evenly(images.length, limit)
  const chosen = new Float32Array(rows.length * dimension)
  rows.forEach((row, i) => {
    chosen.set(vectors.subarray(row * dimension, (row + 1) * dimension), i * dimension)
  })
  let progress: ReturnType<typeof terminal.progress> | undefined
  const result = await tsne(chosen, {
    ...settings,
    ...{ count: rows.length, dimension, signal },
    onProgress: ({ iteration, iterations, kl }) => {
      progress ??= terminal.progress('t-SNE', iterations, 'iterations')
      progress.update(iteration, `divergence ${kl.toFixed(3)}`)
    },
  }).finally(() => progress?.stop())
  const points = rows.map((row, i) => {
    return { ...images[row], x: result.layout[2 * i], y: result.layout[2 * i + 1] }
  })
  const all = rows.length === images.length
  const number = (value: number): string => value.toLocaleString('en')
  const about =
    `t-SNE of ${what} of ${all ? `${number(rows.length)} images` : `${number(rows.length)} of ${number(images.length)} images, evenly chosen`}: ` +
    `near ones are alike. Perplexity ${Number(result.perplexity.toFixed(1))}, ` +
    `${number(result.iterations)} iterations, divergence ${result.kl.toFixed(3)}.`
  const sprites = raw.length > 0 ? await makeSprites(raw, rows) : undefined
  return { cloud: { about, points, ...(sprites && { sprites }) }, rows, result }
}

/** The small pictures of some rows in one, as square as it can be. */
async function makeSprites(raw: Uint8Array, rows: readonly number[]): Promise<CloudSprites> {
  const points = evenly(rows.length, PICTURES)
  const columns = Math.ceil(Math.sqrt(points.length))
  const lines = Math.ceil(points.length / columns)
  const line = rawEdge * 3
  const sheet = new Uint8Array(columns * lines * rawEdge * line)
  points.forEach((point, place) => {
    const from = rows[point] * rawEdge * line
    const to = (Math.floor(place / columns) * rawEdge * columns + (place % columns)) * line
    for (let y = 0; y < rawEdge; y++) {
      sheet.set(raw.subarray(from + y * line, from + (y + 1) * line), to + y * columns * line)
    }
  })
  const size = { width: columns * rawEdge, height: lines * rawEdge, channels: 3 } as const
  const bytes = await sharp(sheet, { raw: size }).webp({ quality: QUALITY, effort: 2 }).toBuffer()
  return { bytes, tile: rawEdge, columns, points }
}
