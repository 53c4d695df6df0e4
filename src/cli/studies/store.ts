import { readFile } from 'node:fs/promises'
import { KeeplightError } from '../../runtime/errors.ts'
import { writeFileAtomic } from '../files.ts'
import { metrics, type Scores } from './scores.ts'

/** One training run, or one partition of a method without runs. */
export interface Run {
  readonly seed: number
  /** In %, on the scored images. */
  readonly scores: Scores
  /** Mean squared distance of the fitted, normalised features to their cluster's mean. */
  readonly inertia: number
}

/** What one repetition of one row came to on one data set. */
export interface Cell {
  readonly dataset: string
  /** The row of the table: a method or a setting. */
  readonly row: string
  readonly seed: number
  readonly runs: readonly Run[]
  /** Index of the run of lowest inertia: what a user without labels gets. */
  readonly kept: number
  readonly seconds: number
}

/** Finished cells in a file, so that a stopped study goes on where it was. */
export class CellStore {
  private constructor(
    readonly path: string,
    private readonly study: string,
    private readonly known: Map<string, Cell>,
  ) {}

  /**
   * Reads what an earlier run of the same study left, if anything.
   *
   * @throws KeeplightError `input` when the file is something else
   */
  static async open(path: string, study: string): Promise<CellStore> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw new KeeplightError('input', `${path} can't be read: ${error.message}`, { cause: error })
    })
    return new CellStore(path, study, text === undefined ? new Map() : parse(text, path, study))
  }

  get(key: string): Cell | undefined {
    return this.known.get(key)
  }

  /** Adds cells and writes them all. */
  async add(cells: readonly (readonly [key: string, cell: Cell])[]): Promise<void> {
    for (const [key, cell] of cells) this.known.set(key, cell)
    await this.write({})
  }

  /** Writes all cells, with the summary of a finished study. */
  async write(summary: object): Promise<void> {
    const value = { format: this.study, ...summary, cells: Object.fromEntries(this.known) }
    await writeFileAtomic(this.path, `${JSON.stringify(value, null, 2)}\n`)
  }
}

function parse(text: string, path: string, study: string): Map<string, Cell> {
  const fail = (what: string): never => {
    throw new KeeplightError(
      'input',
      `${path}: ${what}, expected the results of ${study}. Remove it, or choose another --out.`,
    )
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    fail(`is not JSON (${(error as Error).message})`)
  }
  const { format, cells } = (value ?? {}) as { format?: unknown; cells?: unknown }
  if (format !== study) fail(`its format is ${String(format)}`)
  if (typeof cells !== 'object' || cells === null) fail('it has no cells')
  const entries = Object.entries(cells as Record<string, unknown>)
  for (const [key, cell] of entries) if (!isCell(cell)) fail(`cell ${key} is damaged`)
  return new Map(entries as [string, Cell][])
}

function isCell(value: unknown): value is Cell {
  const { runs, kept, seed, seconds } = (value ?? {}) as Partial<Cell>
  return (
    Array.isArray(runs) &&
    [kept, seed, seconds].every(Number.isFinite) &&
    runs[kept!] !== undefined &&
    (runs as Run[]).every(({ scores }) => metrics.every((name) => Number.isFinite(scores?.[name])))
  )
}
