import { KeeplightError } from '../runtime/errors.ts'
import { baseName, isImageName } from './imageNames.ts'

/** A line of a list of images. */
export interface ListedPath {
  readonly path: string
  readonly label: string | undefined
  /** From 1. */
  readonly line: number
}

/** More lines than this are no list of images. */
const maximumLines = 5_000_000
const pathHeads = ['path', 'file', 'filename', 'file_name', 'image']
const labelHeads = ['label', 'class']

/**
 * Reads a list of image files: a path a line, a label after a tab or a comma where wanted. Lines that
 * start with `#` are comments. A first line that names columns (`path,label`) is understood, and
 * fields in double quotes as CSV has them.
 *
 * A comma separates in `.csv` files, and elsewhere when what stands before it ends like an image.
 *
 * @param source what errors call it; its ending decides about commas
 * @throws KeeplightError `input`: no path, or labels on some lines alone
 */
export function parsePathList(text: string, source: string): ListedPath[] {
  const isCsv = /\.csv$/i.test(source)
  const listed: ListedPath[] = []
  let labelColumn = 1
  let first = true
  let line = 0
  for (const raw of lines(text)) {
    if (++line > maximumLines) {
      throw new KeeplightError('input', `${source}: has more than ${maximumLines} lines. Split it.`)
    }
    if (raw.trim() === '' || raw.startsWith('#')) continue
    const fields = fieldsOf(raw, isCsv)
    const isHead = first && pathHeads.includes(fields[0]!.trim().toLowerCase())
    first = false
    if (isHead) {
      const named = fields.findIndex((name) => labelHeads.includes(name.trim().toLowerCase()))
      if (named > 0) labelColumn = named
      continue
    }
    const path = fields[0]!.trim()
    const label = fields[labelColumn]?.trim()
    if (path === '' || path.includes('\0')) {
      throw new KeeplightError('input', `${source}, line ${line}: expected a path first.`)
    }
    listed.push({ path, label: label === '' ? undefined : label, line })
  }
  if (listed.length === 0) {
    throw new KeeplightError(
      'input',
      `${source}: lists no images; expected a path a line. Give a folder, an archive or a list.`,
    )
  }
  const without = listed.find(({ label }) => label === undefined)
  const labelled = listed.find(({ label }) => label !== undefined)
  if (without && labelled) {
    throw new KeeplightError(
      'input',
      `${source}, line ${without.line}: has no label, but line ${labelled.line} has one. ` +
        'Label every line, or none.',
    )
  }
  return listed
}

/**
 * The rows of RFC 4180 CSV: fields may be quoted, with line ends and doubled quotes within. Lines without
 * anything are left out.
 */
export function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  const pattern = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/gy
  for (let at = text.startsWith('\ufeff') ? 1 : 0; at < text.length; at = pattern.lastIndex) {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (!match) {
      throw new KeeplightError(
        'input',
        `row ${rows.length + 1} of the CSV: a quote is out of place; expected fields as RFC 4180 has them.`,
      )
    }
    row.push(match[1]?.replaceAll('""', '"') ?? match[2]!)
    if (match[3] === ',' && pattern.lastIndex < text.length) continue
    if (match[3] === ',') row.push('')
    if (row.length > 1 || row[0] !== '') rows.push(row)
    row = []
  }
  return rows
}

function* lines(text: string): Generator<string> {
  let begin = text.startsWith('\ufeff') ? 1 : 0
  while (begin < text.length) {
    const found = text.indexOf('\n', begin)
    const end = found < 0 ? text.length : found
    yield text.slice(begin, text[end - 1] === '\r' ? end - 1 : end)
    begin = end + 1
  }
}

function fieldsOf(line: string, isCsv: boolean): string[] {
  if (line.startsWith('"')) return quotedFields(line)
  if (line.includes('\t')) return line.split('\t')
  if (isCsv) return line.includes('"') ? quotedFields(line) : line.split(',')
  const comma = line.lastIndexOf(',')
  const before = line.slice(0, Math.max(0, comma)).trim()
  return comma > 0 && isImageName(baseName(before)) && !isImageName(baseName(line))
    ? [before, line.slice(comma + 1)]
    : [line]
}

/** Fields of CSV, of which some are in double quotes (a doubled one stands for itself). */
function quotedFields(line: string): string[] {
  const fields: string[] = []
  const pattern = /(?:"((?:[^"]|"")*)"|([^,\t]*))(?:[,\t]|$)/gy
  for (let at = 0; at < line.length;) {
    pattern.lastIndex = at
    const match = pattern.exec(line)
    if (!match || match[0] === '') {
      fields.push(line.slice(at))
      break
    }
    fields.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    at = pattern.lastIndex
  }
  return fields.length === 0 ? [''] : fields
}
