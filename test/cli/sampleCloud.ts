import sharp from 'sharp'
import type { Cloud, CloudPoint } from '../../src/cli/report/cloudData.ts'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'
import { randomNormal } from '../../src/kernels/random.ts'

const TILE = 32
const DRAWINGS = 6

/** A cloud of `count` images of the sample report's kinds, each kind a blob; half have pictures. */
export async function sampleCloud(
  count: number,
  nameOf: (cluster: number, image: number) => string,
): Promise<Cloud> {
  const kinds = sceneKinds.length
  const points = Array.from({ length: count }, (_, i): CloudPoint => {
    const cluster = i % kinds
    const angle = (2 * Math.PI * cluster) / kinds
    const path = nameOf(cluster, Math.floor(i / kinds))
    return {
      x: 30 * Math.cos(angle) + 6 * randomNormal(1, cluster, i),
      y: 24 * Math.sin(angle) + 6 * randomNormal(2, cluster, i),
      path,
      cluster,
      probability: 0.97,
      label: sceneKinds[i % 17 === 16 ? (cluster + 1) % kinds : cluster],
      href: path,
    }
  })
  const columns = kinds
  const shown = Array.from({ length: Math.ceil(count / 2) }, (_, i) => i)
  const lines = Math.ceil(shown.length / columns)
  const drawings = await Promise.all(
    Array.from({ length: kinds * DRAWINGS }, async (_, i) => {
      const { width, height, data } = drawScene(sceneKinds[i % kinds], i)
      return sharp(data, { raw: { width, height, channels: 3 } })
        .resize(TILE, TILE)
        .png()
        .toBuffer()
    }),
  )
  const bytes = await sharp({
    create: { width: columns * TILE, height: lines * TILE, channels: 3, background: '#888' },
  })
    .composite(
      shown.map((i) => ({
        input: drawings[i % drawings.length],
        left: (i % columns) * TILE,
        top: Math.floor(i / columns) * TILE,
      })),
    )
    .webp()
    .toBuffer()
  return {
    about: `t-SNE of the head’s logits of ${count} images: near ones are alike.`,
    points,
    sprites: { bytes, tile: TILE, columns, points: shown },
  }
}
