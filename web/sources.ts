import { sceneKinds, type SceneKind } from '../src/index.ts'

/** A picture before it is decoded. */
export interface Source {
  /** Path within what was chosen, with `/` between parts. */
  readonly path: string
  /** The file, or the scene to draw. */
  readonly from: File | { readonly scene: SceneKind; readonly seed: number }
}

/** What somebody chose or dropped. */
export interface Choice {
  /** Name of the one folder that holds everything, if there is one. */
  readonly folder: string | undefined
  /** Sorted by path. */
  readonly sources: readonly Source[]
  /** How many files were passed over, because their name doesn't end like a picture's. */
  readonly ignored: number
}

interface PathFile {
  readonly path: string
  readonly file: File
}

// Those that the browser can't decode are then named as such, rather than passed over.
const IMAGE = /\.(jpe?g|png|webp|avif|gif|bmp|tiff?|hei[cf])$/i

/** Files of an `<input>`; with `webkitdirectory` they know their path. */
export function chooseFiles(files: Iterable<File>): Choice {
  return choose(Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file })))
}

/** Files and folders that were dropped. Call it within the event: the data are gone afterwards. */
export async function chooseDropped(items: DataTransferItemList): Promise<Choice> {
  const entries = Array.from(items, (item) => item.webkitGetAsEntry())
  const lists = await Promise.all(
    entries.map(async (entry) => (entry ? await filesBelow(entry) : [])),
  )
  return choose(lists.flat())
}

/** Drawn scenes, some of each kind, in a folder per kind as the demo has them. */
export function chooseDrawn(perKind: number): Choice {
  const sources = sceneKinds.flatMap((scene) =>
    Array.from({ length: perKind }, (_, seed): Source => {
      const path = `${scene}/${scene}-${String(seed).padStart(3, '0')}.png`
      return { path, from: { scene, seed } }
    }),
  )
  return { folder: 'drawn pictures', sources: sources.sort(byPath), ignored: 0 }
}

function choose(files: readonly PathFile[]): Choice {
  const visible = files.filter(({ path }) => !/(^|\/)\./.test(path))
  const images = visible.filter(({ path }) => IMAGE.test(path))
  const tops = new Set(images.map(({ path }) => path.slice(0, path.indexOf('/') + 1)))
  const [top = ''] = tops.size === 1 ? tops : []
  const sources = images.map(({ path, file }) => ({ path: path.slice(top.length), from: file }))
  return {
    folder: top.slice(0, -1) || undefined,
    sources: sources.sort(byPath),
    ignored: visible.length - images.length,
  }
}

// By code units, so that the order is the same everywhere.
function byPath(a: Source, b: Source): number {
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0
}

async function filesBelow(entry: FileSystemEntry): Promise<PathFile[]> {
  const path = entry.fullPath.replace(/^\//, '')
  if (entry.isFile) {
    const { file } = entry as FileSystemFileEntry
    return [{ path, file: await new Promise<File>((done, fail) => file.call(entry, done, fail)) }]
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const files: PathFile[] = []
  for (;;) {
    // A reader gives some entries at a time, and none at the end.
    const part = await new Promise<FileSystemEntry[]>((done, fail) => {
      reader.readEntries(done, fail)
    })
    if (part.length === 0) return files
    for (const child of part) files.push(...(await filesBelow(child)))
  }
}
