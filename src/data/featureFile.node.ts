import { createReadStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { KeeplightError } from '../runtime/errors.ts'
import { type EmbedJob, type Shard, rowSpecs, rowTensors } from './embedJob.node.ts'
import { PendingFile, SafetensorsRows, SafetensorsWriter } from './safetensorsFile.node.ts'

/**
 * A file of features, `NAME.safetensors`, with `NAME.jsonl` beside it:
 *
 * - `features` [N, D] F32 or F16, a row for each image that could be read, in the collection's order
 * - `indices` [N] U32, the images' places in the collection
 * - `hashes` [N, 32] U8, SHA-256 of the image files
 * - `labels`, `coarse_labels` [N] I32, where there are classes
 *
 * `NAME.jsonl` has a line for each row: index, path, sha256, and label and class where there are any.
 * `NAME.failed.jsonl` is there when images could not be read, and names them with the reason.
 */

const FORMAT = 'keeplight-features'
const VERSION = '1'

export interface FeatureFileInfo {
  readonly job: EmbedJob
  readonly shard: Shard
  readonly rows: number
  readonly classes: readonly string[]
  readonly coarseClasses: readonly string[]
  readonly adapter: string
}

/** Some rows of a file, and their lines. */
export interface FeatureBlock {
  readonly tensors: Readonly<Record<string, ArrayBufferView>>
  readonly lines: readonly string[]
}

/** Paths of what belongs to a file of features. */
export function featurePaths(out: string) {
  const base = out.replace(/\.safetensors$/, '')
  return { features: out, images: `${base}.jsonl`, failed: `${base}.failed.jsonl` }
}

/**
 * Writes a file of features and what belongs to it, block by block, in constant memory. The features
 * get their name last: where they are, everything is.
 */
export async function writeFeatureFile(
  out: string,
  info: FeatureFileInfo,
  blocks: AsyncIterable<FeatureBlock>,
  failed: AsyncIterable<string>,
): Promise<void> {
  const { job, shard, rows, classes, coarseClasses, adapter } = info
  const labels = (present: boolean, name: string) =>
    present ? { [name]: { dtype: 'I32', shape: [rows] } as const } : {}
  const specs = {
    ...rowSpecs(job, rows),
    ...labels(classes.length > 0, 'labels'),
    ...labels(coarseClasses.length > 0, 'coarse_labels'),
  }
  const metadata = {
    format: FORMAT,
    version: VERSION,
    job: JSON.stringify(job),
    shard: JSON.stringify(shard),
    classes: JSON.stringify(classes),
    coarse_classes: JSON.stringify(coarseClasses),
    adapter,
  }
  const paths = featurePaths(out)
  const writer = await SafetensorsWriter.create(out, specs, metadata)
  const lines = await LineWriter.create(paths.images)
  const misses = await LineWriter.create(paths.failed)
  try {
    for await (const block of blocks) {
      for (const name of Object.keys(specs)) await writer.append(name, block.tensors[name])
      await lines.append(block.lines)
    }
    for await (const line of failed) await misses.append([line])
    if (misses.count === 0) {
      await misses.abandon()
      await rm(paths.failed, { force: true })
    } else {
      await misses.finish()
    }
    await lines.finish()
    await writer.finish()
  } catch (error) {
    await Promise.all([writer, lines, misses].map((file) => file.abandon()))
    throw error
  }
}

/** A text file that is written line by line under a temporary name. */
class LineWriter {
  count = 0
  readonly #file: PendingFile

  private constructor(file: PendingFile) {
    this.#file = file
  }

  static async create(path: string): Promise<LineWriter> {
    return new LineWriter(await PendingFile.create(path))
  }

  async append(lines: readonly string[]): Promise<void> {
    this.count += lines.length
    if (lines.length > 0) await this.#file.handle.appendFile(`${lines.join('\n')}\n`)
  }

  finish(): Promise<void> {
    return this.#file.finish()
  }

  abandon(): Promise<void> {
    return this.#file.abandon()
  }
}

/** A file of features that is open for reading. */
export class FeatureFile {
  readonly info: FeatureFileInfo
  readonly #file: SafetensorsRows

  private constructor(file: SafetensorsRows, info: FeatureFileInfo) {
    this.#file = file
    this.info = info
  }

  /** @throws KeeplightError `input` when it can't be opened, `format` when it holds no features */
  static async open(path: string): Promise<FeatureFile> {
    const file = await SafetensorsRows.open(path)
    const info = readInfo(file)
    if (info) return new FeatureFile(file, info)
    await file.close()
    throw new KeeplightError(
      'format',
      `${path}: this safetensors file holds no features of this version of keeplight embed`,
    )
  }

  get path(): string {
    return this.#file.path
  }

  /** The tensors of rows [first, last). */
  async read(first: number, last: number): Promise<Record<string, Buffer>> {
    const names = [...this.#file.tensors.keys()]
    const parts = await Promise.all(names.map((name) => this.#file.read(name, first, last)))
    return Object.fromEntries(names.map((name, i) => [name, parts[i]]))
  }

  /** Places of all rows in the collection, ascending. */
  async indices(): Promise<Uint32Array> {
    return new Uint32Array(new Uint8Array(await this.#file.read('indices')).buffer)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

function readInfo({ metadata, tensors }: SafetensorsRows): FeatureFileInfo | undefined {
  if (metadata.get('format') !== FORMAT || metadata.get('version') !== VERSION) return undefined
  try {
    const parse = (key: string): unknown => JSON.parse(metadata.get(key)!)
    const rows = tensors.get('features')!.shape[0]
    const job = parse('job') as EmbedJob
    const expected = rowSpecs(job, rows)
    for (const name of rowTensors) {
      const { dtype, shape } = tensors.get(name)!
      if (dtype !== expected[name].dtype || shape.join() !== expected[name].shape.join()) {
        return undefined
      }
    }
    return {
      job,
      shard: parse('shard') as Shard,
      rows,
      classes: parse('classes') as string[],
      coarseClasses: parse('coarse_classes') as string[],
      adapter: metadata.get('adapter') ?? '',
    }
  } catch {
    return undefined
  }
}

/** The lines of a text file; none of one that may be absent and is. */
export async function* linesOf(path: string, mayBeAbsent = false): AsyncGenerator<string> {
  const stream = createReadStream(path, 'utf8')
  try {
    yield* createInterface({ input: stream, crlfDelay: Infinity })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause
    if (!mayBeAbsent) {
      throw new KeeplightError(
        'input',
        `${path}: there is no such file; it belongs to the file of features beside it`,
      )
    }
  } finally {
    stream.destroy()
  }
}

/**
 * A row's line of the file beside the features, when it is that row's.
 *
 * @throws KeeplightError `format` when it is another's, or missing
 */
export function checkedLine(path: string, line: unknown, row: number, index: number): string {
  if (isLineOf(line, index)) return line
  throw new KeeplightError(
    'format',
    `${featurePaths(path).images}: line ${row + 1} is not that of image ${index}, as it is in ` +
      `${path}. Embed again with --overwrite.`,
  )
}

function isLineOf(line: unknown, index: number): line is string {
  try {
    return (JSON.parse(line as string) as { index?: unknown }).index === index
  } catch {
    return false
  }
}
