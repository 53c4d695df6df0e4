import { KeeplightError } from '../runtime/errors.ts'

/** A field of RFC 4180 CSV, quoted where it has to be. */
export function csvField(value: string | number): string {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** Rows of fields as CSV with `\n` line ends. */
export const csvText = (rows: readonly (readonly (string | number)[])[]): string =>
  rows.map((fields) => `${fields.map(csvField).join(',')}\n`).join('')

/**
 * Spreadsheets run a field that begins with `=`, `+`, `-` or `@` as a formula. `./` before such a
 * path keeps it text, and keeps it the same path.
 */
export function safePath(path: string): string {
  return /^[=+\-@\t\r]/.test(path) ? `./${path}` : path
}

/** What {@link safePath} was given; a leading `./` says nothing in a path. */
export const plainPath = (field: string): string => field.replace(/^(\.\/)+/, '')

/**
 * Rows of RFC 4180 CSV, each by the names of the first line. Blank lines are left out, a byte order mark
 * too.
 *
 * @param name of the file, for messages
 * @throws KeeplightError `format` for a quote that never ends, or a row of another length than the first
 */
export function parseCsv(text: string, name: string): Map<string, string>[] {
  const [head, ...rows] = split(text.replace(/^\ufeff/, ''), name)
  if (!head)
    throw new KeeplightError('format', `${name}: is empty, expected a line of column names`)
  return rows.map((fields, i) => {
    if (fields.length !== head.length) {
      throw new KeeplightError(
        'format',
        `${name}: row ${i + 2} has ${fields.length} fields, expected ${head.length} as in the first`,
      )
    }
    return new Map(head.map((column, at) => [column.trim(), fields[at]!]))
  })
}

function split(text: string, name: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  // A field with what ends it; quoted, or up to a comma or the line's end.
  const field = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y
  while (field.lastIndex < text.length) {
    const at = field.lastIndex
    const match = field.exec(text)
    if (!match) {
      const line = text.slice(0, at).split('\n').length
      throw new KeeplightError('format', `${name}: line ${line} has a quote out of place`)
    }
    const [, quoted, plain, end] = match
    row.push(quoted?.replaceAll('""', '"') ?? plain!)
    if (end === ',') {
      if (field.lastIndex === text.length) row.push('')
      else continue
    }
    if (row.length > 1 || row[0] !== '') rows.push(row)
    row = []
  }
  return rows
}
