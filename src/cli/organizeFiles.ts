import { createHash } from 'node:crypto'
import {
  constants,
  copyFile,
  lstat,
  mkdir,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import sharp from 'sharp'
import type { ImageCollection, ImageContent } from '../data/collection.ts'
import { readError } from '../data/diskFile.node.ts'
import { baseName } from '../data/imageNames.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { OutputError } from './exitCodes.ts'
import { writingTo } from './files.ts'
import type { Terminal } from './terminal.ts'

/** Relative symbolic links to the images' files, or copies of the images. */
export type OrganizeMode = 'link' | 'copy'

/** An image and the cluster whose folder it goes to. */
export interface OrganizedImage {
  readonly path: string
  readonly cluster: number
}

export interface OrganizeEntry extends OrganizedImage {
  /** Place in the collection. */
  readonly index: number
  /** Path in the folder of clusters. */
  readonly name: string
}

export interface OrganizePlan {
  /** Absolute path of the folder of clusters. */
  readonly folder: string
  readonly mode: OrganizeMode
  /** In the order of the collection. */
  readonly entries: readonly OrganizeEntry[]
}

/** By this file a folder is known as Keeplight's own, and may be replaced. */
const marker = '.keeplight-clusters'
/** Longest file name in bytes; file systems take 255. */
const longestName = 200

/**
 * Finds out before the long work whether a run's images can be put into folders.
 *
 * @throws KeeplightError `usage` for links to what has no file of its own; OutputError when the folder of
 *   clusters is somebody else's, or would lie among the images
 */
export async function checkOrganizable(
  collection: ImageCollection,
  out: string,
  mode: OrganizeMode,
): Promise<void> {
  if (mode === 'link' && !collection.holder?.(0).own) {
    throw new KeeplightError(
      'usage',
      `${collection.root}: its images (${collection.kind}) are no files of their own, to which links ` +
        'could lead. Take copy, which extracts them.',
    )
  }
  const folder = join(out, 'clusters')
  const isFolder = await stat(collection.root).then(
    (entry) => entry.isDirectory(),
    () => false,
  )
  const inside = relative(collection.root, await realFolder(folder))
  if (isFolder && !inside.startsWith('..')) {
    throw new OutputError(
      `${folder}: lies among the images, and the next run would find each of them twice. ` +
        'Choose a folder outside with --out.',
    )
  }
  await assertOwn(folder)
}

/** The path that a folder has or will have, with the links of what exists resolved. */
async function realFolder(path: string): Promise<string> {
  const found = await realpath(path).catch(() => undefined)
  if (found !== undefined || dirname(path) === path) return found ?? path
  return join(await realFolder(dirname(path)), path.slice(dirname(path).length))
}

async function assertOwn(folder: string): Promise<void> {
  const entry = await lstat(folder).catch(() => undefined)
  if (!entry) return
  const own = entry.isDirectory() && (await lstat(join(folder, marker)).catch(() => undefined))
  if (own) return
  throw new OutputError(
    `${folder}: is there already and was not made by Keeplight (no ${marker} in it). ` +
      'Move it away, or choose another folder with --out.',
  )
}

/**
 * Says where each image goes: `<cluster>/<file name>`. Of images with the same name in a cluster each
 * gets its folders before it, `a/x.jpg` as `a__x.jpg`; what is the same even so is numbered in the order
 * of the collection. Names are compared without case, as some file systems do.
 *
 * @throws KeeplightError `input` when the collection has no image of that name
 */
export function planOrganization(
  collection: ImageCollection,
  images: readonly OrganizedImage[],
  out: string,
  mode: OrganizeMode,
): OrganizePlan {
  const indexOf = new Map(collection.files.map((path, index) => [path, index]))
  const placed = images.map(({ path, cluster }) => {
    const index = indexOf.get(path)
    if (index !== undefined) return { path, cluster, index }
    throw new KeeplightError(
      'input',
      `${collection.root}: has no image ${JSON.stringify(path)} any more. Run keeplight cluster again.`,
    )
  })
  placed.sort((a, b) => a.index - b.index)
  const key = (cluster: number, name: string): string => `${cluster}/${name.toLowerCase()}`
  const uses = new Map<string, number>()
  for (const { path, cluster } of placed) {
    const short = key(cluster, fileName(baseName(path)))
    uses.set(short, (uses.get(short) ?? 0) + 1)
  }
  const taken = new Set<string>()
  const entries = placed.map(({ path, cluster, index }): OrganizeEntry => {
    const short = fileName(baseName(path))
    const shared = uses.get(key(cluster, short))! > 1
    const wanted = shared ? fileName(path.replaceAll('/', '__')) : short
    let name = wanted
    for (let n = 2; taken.has(key(cluster, name)); n++) name = numbered(wanted, n)
    taken.add(key(cluster, name))
    return { path, cluster, index, name: `${cluster}/${name}` }
  })
  return { folder: join(out, 'clusters'), mode, entries }
}

/** A name that every file system takes; what is too long is cut, and told apart by a hash. */
function fileName(text: string): string {
  // eslint-disable-next-line no-control-regex
  const clean = text.replace(/[\u0000-\u001f\u007f<>:"\\|?*]/g, '_').replace(/^\.+/, '_')
  if (Buffer.byteLength(clean) <= longestName) return clean
  const ending = /\.\w{1,5}$/.exec(clean)?.[0] ?? ''
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 12)
  let head = clean.slice(0, -ending.length || undefined)
  while (Buffer.byteLength(head) > longestName - 20) head = head.slice(0, -1)
  return `${head}-${hash}${ending}`
}

function numbered(name: string, n: number): string {
  const dot = name.lastIndexOf('.')
  return dot > 0 ? `${name.slice(0, dot)} (${n})${name.slice(dot)}` : `${name} (${n})`
}

/**
 * Makes the folder of clusters beside itself and gives it its name at the end, so that it is there whole
 * or not at all. A folder that an earlier run made is replaced.
 *
 * @throws OutputError when it can't be written, or a folder of that name is somebody else's
 */
export async function organize(
  collection: ImageCollection,
  { folder, mode, entries }: OrganizePlan,
  { terminal, signal }: { readonly terminal: Terminal; readonly signal?: AbortSignal },
): Promise<void> {
  await assertOwn(folder)
  const temporary = `${folder}.${process.pid}.tmp`
  const before = `${folder}.${process.pid}.old`
  const progress = terminal.progress('organizing', entries.length, 'images')
  try {
    await writingTo(folder, async () => {
      await rm(temporary, { recursive: true, force: true })
      for (const cluster of new Set(entries.map((entry) => entry.cluster))) {
        await mkdir(join(temporary, String(cluster)), { recursive: true })
      }
      const about = { mode, data: collection.root, images: entries.length }
      await writeFile(join(temporary, marker), `${JSON.stringify(about)}\n`)
      const place = mode === 'link' ? linkAll : copyAll
      let done = 0
      await place(collection, entries, temporary, signal, () => progress.update(++done))
      if (signal?.aborted) throw new KeeplightError('aborted', 'stopped')
      // Two renames: at no moment is anything but a whole folder under the name.
      const replaces = await lstat(folder).catch(() => undefined)
      if (replaces) await rename(folder, before)
      await rename(temporary, folder)
      await rm(before, { recursive: true, force: true })
    })
  } finally {
    progress.stop()
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined)
  }
}

type Place = (
  collection: ImageCollection,
  entries: readonly OrganizeEntry[],
  folder: string,
  signal: AbortSignal | undefined,
  onDone: () => void,
) => Promise<void>

const linkAll: Place = async (collection, entries, folder, signal, onDone) => {
  const root = await realpath(folder)
  for (const { index, name } of entries) {
    if (signal?.aborted) return
    const from = join(root, name)
    // The folder is renamed within its parent, so the way from it stays right.
    await symlink(relative(dirname(from), collection.holder!(index).path), from).catch(
      (cause: unknown) => {
        const { code } = cause as NodeJS.ErrnoException
        if (code !== 'EPERM' && code !== 'ENOSYS') throw cause
        throw new OutputError(
          `${folder}: this system or disk takes no symbolic links (${code}). Take copy instead.`,
          { cause },
        )
      },
    )
    onDone()
  }
}

const copyAll: Place = async (collection, entries, folder, signal, onDone) => {
  const nameOf = new Map(entries.map(({ index, name }) => [index, name]))
  const indices = entries.map(({ index }) => index)
  for await (const { index, content } of collection.read(indices, signal)) {
    await copyContent(content, join(folder, ...nameOf.get(index)!.split('/')))
    onDone()
  }
}

async function copyContent(content: ImageContent, to: string): Promise<void> {
  if ('file' in content) {
    const { atime, mtime } = await stat(content.file).catch((cause: unknown) => {
      throw readError(content.file, cause)
    })
    await copyFile(content.file, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    await utimes(to, atime, mtime)
  } else if ('bytes' in content) {
    await writeFile(to, content.bytes, { flag: 'wx' })
  } else if ('pixels' in content) {
    const { width, height, data } = content.pixels
    const image = sharp(data, { raw: { width, height, channels: 3 } })
    await writeFile(`${to}.png`, await image.png().toBuffer(), { flag: 'wx' })
  } else {
    throw new KeeplightError('input', `${to}: ${content.unreadable}; the images were changed.`)
  }
}
