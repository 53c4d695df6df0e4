import { join } from 'node:path'
import type { ImageCollection } from './collection.ts'
import { scanFolder } from './folder.node.ts'
export async function openCollection(path: string): Promise<ImageCollection> {
  const folder = await scanFolder(path)
  return {
    ...folder,
    kind: 'folder',
    async *read(indices = folder.files.map((_, i) => i)) {
      for (const index of indices)
        yield { index, content: { file: join(folder.root, folder.files[index]) } }
    },
  }
}
