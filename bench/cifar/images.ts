import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import {
  DEFAULT_MODEL,
  embedImages,
  KeeplightError,
  loadModel,
  normalizeRows,
  randomUniform,
  type Device,
  type Pixels,
} from '../../src/index.node.ts'
import { decodePixels } from '../../src/data/decodeImage.node.ts'
import { scanFolder } from '../../src/data/folder.node.ts'
import type { Dataset } from './dataset.ts'

const IMAGES_PER_CLASS = 1000
const VIEWS = 4

export interface ImageOptions {
  readonly device: Device
  /** Folder of `cifar10-train.tar.gz` and `cifar10-test.tar.gz`, which hold class folders. */
  readonly data: string
  /** Where they are unpacked. */
  readonly cache: string
  /** Path of a weights file; default: the encoder that comes with the package. */
  readonly model: string | undefined
  /** How many training images are wanted. */
  readonly count: number
  readonly withTest: boolean
  readonly shuffleSeed: number
  readonly onProgress: (what: string, done: number, total: number) => void
}

/**
 * Embeds the first 1,000 training images of each class, the reference's choice, in four views each.
 * Their order is our own seeded shuffle; the reference's is not known from the images.
 */
export async function embedCifar(options: ImageOptions): Promise<Dataset> {
  const { device, count, withTest, shuffleSeed, onProgress } = options
  const encoder = await loadModel(options.model ?? DEFAULT_MODEL, { device })
  try {
    const all = await labelledFiles(options, 'train')
    const train = shuffled(firstOfEachClass(all, IMAGES_PER_CLASS), shuffleSeed).slice(0, count)
    const features = await embedImages(encoder, decodeAll(train.map(({ path }) => path)), {
      views: VIEWS,
      onProgress: (done) => onProgress('training images', done, train.length),
    })
    const scored = withTest ? await labelledFiles(options, 'test') : []
    const test = withTest
      ? await embedImages(encoder, decodeAll(scored.map(({ path }) => path)), {
          views: 0,
          onProgress: (done) => onProgress('test images', done, scored.length),
        })
      : { clean: new Float32Array(0) }
    normalizeRows(test.clean, encoder.dimension)
    return {
      source: `images of ${options.data} by ${encoder.name}`,
      train: features,
      trainLabels: Int32Array.from(train, ({ label }) => label),
      test: test.clean,
      testLabels: Int32Array.from(scored, ({ label }) => label),
      isReferenceOrder: false,
    }
  } finally {
    await encoder.dispose()
  }
}

interface LabelledFile {
  readonly path: string
  readonly label: number
}

async function labelledFiles(
  { data, cache }: ImageOptions,
  split: 'train' | 'test',
): Promise<LabelledFile[]> {
  const folder = join(await unpack(join(data, `cifar10-${split}.tar.gz`), cache), split)
  const { root, files, labels } = await scanFolder(folder)
  if (!labels) throw new KeeplightError('input', `${folder} has no class folders`)
  return files.map((file, i) => ({ path: join(root, file), label: labels[i] }))
}

/** Unpacks an archive into a folder named by its content, unless that is there already. */
async function unpack(archive: string, cache: string): Promise<string> {
  const bytes = await readFile(archive).catch((cause: unknown) => {
    throw new KeeplightError(
      'input',
      `${archive} can't be read (${String(cause)}); give its folder with --data, or --features`,
    )
  })
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  const folder = join(cache, hash)
  if (existsSync(folder)) return folder
  await mkdir(cache, { recursive: true })
  const temporary = await mkdtemp(join(cache, 'unpacking-'))
  const tar = spawn('tar', ['-xzf', archive, '-C', temporary], { stdio: 'inherit' })
  const code = await new Promise<number | null>((resolve, reject) => {
    tar.on('error', reject)
    tar.on('close', resolve)
  })
  if (code !== 0) {
    await rm(temporary, { recursive: true })
    throw new KeeplightError('input', `tar could not unpack ${archive} (exit code ${code})`)
  }
  await rename(temporary, folder)
  return folder
}

function firstOfEachClass(files: readonly LabelledFile[], count: number): LabelledFile[] {
  const seen = new Map<number, number>()
  return files.filter(({ label }) => {
    const before = seen.get(label) ?? 0
    seen.set(label, before + 1)
    return before < count
  })
}

/** Fisher and Yates' shuffle by the counter-based generator. */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  const order = [...items]
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(randomUniform(seed, 0, i) * (i + 1))
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}

/** Pictures in the order of `paths`, a few being decoded ahead on libvips' threads. */
async function* decodeAll(paths: readonly string[]): AsyncGenerator<Pixels> {
  const ahead: Promise<Pixels>[] = []
  for (let next = 0, given = 0; given < paths.length; given++) {
    for (; next < paths.length && ahead.length < 16; next++) {
      const image = readFile(paths[next]!).then((bytes) => decodePixels(bytes))
      // A failure is thrown when its turn comes.
      image.catch(() => {})
      ahead.push(image)
    }
    yield await ahead.shift()!
  }
}
