import { KeeplightError } from '../runtime/errors.ts'
import { jobDifference } from './embedJob.node.ts'
import {
  checkedLine,
  FeatureFile,
  featurePaths,
  linesOf,
  writeFeatureFile,
} from './featureFile.node.ts'
import type { FeatureBlock } from './featureFile.node.ts'

export interface MergeResult {
  readonly images: number
  readonly rows: number
  readonly failed: number
  /** What computed the shards' features, each once: with more than one, bits may differ from one's. */
  readonly adapters: readonly string[]
  readonly paths: ReturnType<typeof featurePaths>
}

/** Rows that are copied at once. */
const ROWS = 1024

/**
 * Puts the files of all shards of a job together: the same file, bit for bit, that one process would
 * have written on the same adapter. In constant memory but for 4 bytes a row.
 *
 * @param shards paths of all n files, in any order
 * @throws KeeplightError `input` when shards are missing, come twice or belong to different jobs
 */
export async function mergeFeatures(
  shards: readonly string[],
  out: string,
  { onProgress, signal }: { onProgress?: (rows: number) => void; signal?: AbortSignal } = {},
): Promise<MergeResult> {
  const files: FeatureFile[] = []
  try {
    for (const path of shards) files.push(await FeatureFile.open(path))
    const sorted = checkShards(files)
    const [{ info }] = sorted
    const rows = sorted.reduce((sum, file) => sum + file.info.rows, 0)
    const failures = await failedLines(sorted)
    const { images } = info.job
    if (rows + failures.length !== images) {
      throw new KeeplightError(
        'input',
        `the shards hold ${rows} rows and ${failures.length} images that could not be read, together ` +
          `not the ${images} images of the collection. Embed again with --overwrite.`,
      )
    }
    const adapters = [...new Set(sorted.map((file) => file.info.adapter))]
    const whole = { ...info, rows, shard: { index: 0, count: 1 }, adapter: adapters.join(', ') }
    const blocks = mergeRows(sorted, onProgress, signal)
    await writeFeatureFile(out, whole, blocks, asAsync(failures))
    return { images, rows, failed: failures.length, adapters, paths: featurePaths(out) }
  } finally {
    await Promise.all(files.map((file) => file.close()))
  }
}

/** The files by their shard's number, when they are all that there are and fit together. */
function checkShards(files: readonly FeatureFile[]): FeatureFile[] {
  const [first] = files
  if (!first) throw new KeeplightError('usage', 'merge: no files of shards were given')
  const { count } = first.info.shard
  const byNumber = new Map<number, FeatureFile>()
  for (const file of files) {
    const { shard, job } = file.info
    const difference = jobDifference(first.info.job, job)
    if (difference !== undefined || shard.count !== count) {
      const how = difference ?? `it is of ${shard.count} shards, the other of ${count}`
      throw new KeeplightError('input', `${file.path} does not belong to ${first.path}: ${how}`)
    }
    const twin = byNumber.get(shard.index)
    if (twin) {
      throw new KeeplightError(
        'input',
        `${file.path} and ${twin.path} are both shard ${shard.index} of ${count}; give each once`,
      )
    }
    byNumber.set(shard.index, file)
  }
  const missing = Array.from({ length: count }, (_, i) => i).filter((i) => !byNumber.has(i))
  if (missing.length > 0) {
    const named = missing.slice(0, 20).join(', ')
    const more = missing.length > 20 ? ` and ${missing.length - 20} more` : ''
    throw new KeeplightError(
      'input',
      `${missing.length} of ${count} shards are missing: ${named}${more}. Embed them with ` +
        `--shard I/${count}, then merge again.`,
    )
  }
  return [...byNumber].sort(([a], [b]) => a - b).map(([, file]) => file)
}

/** Blocks of all rows in the collection's order: runs of one shard after the other. */
async function* mergeRows(
  files: readonly FeatureFile[],
  onProgress: ((rows: number) => void) | undefined,
  signal: AbortSignal | undefined,
): AsyncGenerator<FeatureBlock> {
  const cursors = await Promise.all(files.map((file) => Cursor.open(file)))
  let done = 0
  try {
    for (;;) {
      if (signal?.aborted) throw new KeeplightError('aborted', 'merge: stopped')
      const [next, second] = cursors
        .filter((cursor) => cursor.place < Infinity)
        .sort((a, b) => a.place - b.place)
      if (!next) return
      const block = await next.take(second?.place ?? Infinity)
      yield block
      onProgress?.((done += block.lines.length))
    }
  } finally {
    cursors.forEach((cursor) => cursor.close())
  }
}

/** How far one shard's rows and lines have been read. */
class Cursor {
  readonly #file: FeatureFile
  readonly #indices: Uint32Array
  readonly #lines: AsyncGenerator<string>
  #row = 0

  private constructor(file: FeatureFile, indices: Uint32Array) {
    this.#file = file
    this.#indices = indices
    this.#lines = linesOf(featurePaths(file.path).images)
  }

  static async open(file: FeatureFile): Promise<Cursor> {
    const indices = await file.indices()
    const { job, shard } = file.info
    const sound = indices.every((index, row) => {
      const belongs = Math.floor(index / job.chunk) % shard.count === shard.index
      return belongs && index < job.images && (row === 0 || index > indices[row - 1])
    })
    if (!sound) {
      throw new KeeplightError('format', `${file.path}: its indices are not those of its shard`)
    }
    return new Cursor(file, indices)
  }

  /** Place in the collection of the next row; Infinity at the end. */
  get place(): number {
    return this.#indices[this.#row] ?? Infinity
  }

  /** The next rows whose place is before `end`. */
  async take(end: number): Promise<FeatureBlock> {
    const first = this.#row
    while (this.place < end && this.#row - first < ROWS) this.#row++
    const lines: string[] = []
    for (let row = first; row < this.#row; row++) {
      const { value } = await this.#lines.next()
      lines.push(checkedLine(this.#file.path, value, row, this.#indices[row]))
    }
    return { tensors: await this.#file.read(first, this.#row), lines }
  }

  close(): void {
    void this.#lines.return(undefined)
  }
}

async function failedLines(files: readonly FeatureFile[]): Promise<string[]> {
  const failed: { readonly index: number; readonly line: string }[] = []
  for (const file of files) {
    const { failed: path } = featurePaths(file.path)
    for await (const line of linesOf(path, true)) {
      failed.push({ index: (JSON.parse(line) as { index: number }).index, line })
    }
  }
  return failed.sort((a, b) => a.index - b.index).map(({ line }) => line)
}

async function* asAsync<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values
}
