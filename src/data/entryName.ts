import { KeeplightError } from '../runtime/errors.ts'

/**
 * The name of an archive's entry with `/` between parts and nothing that leads out of the archive.
 *
 * @param archive what the error calls the archive
 * @throws KeeplightError `input`: empty, too long, absolute, with a drive letter, `..` or a NUL
 */
export function entryName(raw: string, archive: string, longest: number): string {
  const refuse = (problem: string): never => {
    throw new KeeplightError(
      'input',
      `${archive}: the entry ${JSON.stringify(raw.slice(0, 200))} ${problem}; expected a path inside ` +
        'the archive. Pack it again from a folder of images.',
    )
  }
  if (raw.length > longest) refuse(`has a name of more than ${longest} bytes`)
  if (raw.includes('\0')) refuse('has a NUL in its name')
  if (/^[\\/]/.test(raw)) refuse('has an absolute path')
  // `C:../x` is relative to a folder of another drive.
  if (/^[A-Za-z]:/.test(raw)) refuse('names a drive')
  if (raw.split(/[\\/]/).includes('..')) refuse('leads out of the archive by ".."')
  const name = raw
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')
  if (name === '' && !/^[./]+$/.test(raw)) refuse('has no name')
  return name
}

/** Whether a path has a part that starts with a dot, such as `__MACOSX/._a.jpg` or `.git/x.png`. */
export function isHidden(name: string): boolean {
  return name.startsWith('.') || name.includes('/.')
}
