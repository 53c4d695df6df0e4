import { readFile } from 'node:fs/promises'
import { parseCsv, plainPath } from '../data/csv.ts'
import { KeeplightError } from '../runtime/errors.ts'

/** What a file says of each image, by path: a cluster or a label, and what else it says of them. */
export interface PartitionFile {
  readonly path: string
  readonly rows: ReadonlyMap<string, { readonly value: string; readonly label?: string }>
}

/** Columns that hold what an image was put into, the first that is there. */
const clusterColumns = ['cluster', 'class', 'prediction', 'label']
const labelColumns = ['label', 'class', 'cluster']
const pathColumns = ['path', 'file', 'name', 'image']

/**
 * Reads an assignments.csv or .json, as `cluster`, `kmeans`, `predict` and `zero-shot` write them, or
 * any table with a column of paths and one of clusters or labels.
 *
 * @param what whether clusters or labels are asked for, where the file has both
 * @throws KeeplightError `input` when it can't be read or lacks a column, `format` when it is malformed
 */
export async function readPartition(
  path: string,
  what: 'clusters' | 'labels',
): Promise<PartitionFile> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new KeeplightError('input', `${path}: ${(cause as Error).message}`, { cause })
  })
  const rows = /\.json$/i.test(path) ? parseJson(text, path) : parseCsv(text, path)
  const first = rows[0]
  if (!first) throw new KeeplightError('input', `${path}: has no rows. Give one for each image.`)
  const column = (wanted: readonly string[]): string => {
    const found = wanted.find((name) => first.has(name))
    if (found !== undefined) return found
    throw new KeeplightError(
      'input',
      `${path}: has the columns ${[...first.keys()].join(', ')}, expected one of ${wanted.join(', ')}`,
    )
  }
  const paths = column(pathColumns)
  const values = column(what === 'clusters' ? clusterColumns : labelColumns)
  const result = new Map<string, { value: string; label?: string }>()
  for (const row of rows) {
    const image = plainPath(row.get(paths) ?? '')
    if (result.has(image)) {
      throw new KeeplightError('format', `${path}: names ${image} twice, expected each image once`)
    }
    const value = row.get(values)
    if (value === undefined || value === '') {
      throw new KeeplightError('format', `${path}: ${image} has no ${values}`)
    }
    const label = values === 'label' ? undefined : row.get('label')
    result.set(image, { value, ...(label !== undefined && label !== '' && { label }) })
  }
  return { path, rows: result }
}

function parseJson(text: string, path: string): Map<string, string>[] {
  let rows: unknown
  try {
    rows = JSON.parse(text)
  } catch (cause) {
    throw new KeeplightError('format', `${path}: ${(cause as Error).message}`, { cause })
  }
  if (!Array.isArray(rows)) {
    throw new KeeplightError('format', `${path}: expected a list of images, as in assignments.json`)
  }
  return rows.map((row: unknown, i) => {
    if (typeof row !== 'object' || row === null) {
      throw new KeeplightError('format', `${path}: item ${i} is ${String(row)}, expected an object`)
    }
    const fields = Object.entries(row).filter(([, value]) => typeof value !== 'object')
    return new Map(fields.map(([name, value]) => [name, String(value)]))
  })
}
