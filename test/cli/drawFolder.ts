import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import sharp from 'sharp'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'

/** Draws `perKind` pictures of each of the first `kinds` kinds into a folder per kind, as PNG. */
export async function drawFolder(
  folder: string,
  kinds: number,
  perKind: number,
): Promise<readonly string[]> {
  const paths: string[] = []
  for (const kind of sceneKinds.slice(0, kinds)) {
    await mkdir(join(folder, kind), { recursive: true })
    for (let seed = 0; seed < perKind; seed++) {
      const { width, height, data } = drawScene(kind, seed)
      const path = `${kind}/${seed}.png`
      await sharp(data, { raw: { width, height, channels: 3 } }).toFile(join(folder, path))
      paths.push(path)
    }
  }
  return paths.sort()
}
