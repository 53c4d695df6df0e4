import { randomBytes } from 'node:crypto'
import { rename, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { version } from '../package.json'
import { KeeplightError, type Device } from '../src/index.node.ts'

/** An option of a benchmark: how it is shown, what it is when left out, what it does. */
export interface Option {
  /** Name of its value in the help; none: a switch. */
  readonly value?: string
  /** It may also be given without a value, which is then the empty text. */
  readonly optional?: boolean
  readonly default?: string
  readonly help: string
}

type Values<O> = { readonly [K in keyof O]: string | undefined }

/** Reads the command line, or prints the help and returns nothing. */
export function readOptions<O extends Readonly<Record<string, Option>>>(
  purpose: string,
  options: O,
): Values<O> | undefined {
  const table = { ...options, help: { help: 'show this' } }
  const args = process.argv.slice(2).map((arg, i, all) => {
    const bare = arg.startsWith('--') && options[arg.slice(2)]?.optional
    const next = all[i + 1]
    return bare && (next === undefined || next.startsWith('--')) ? `${arg}=` : arg
  })
  const { values } = parseArgs({
    args,
    options: Object.fromEntries(
      Object.entries<Option>(table).map(([name, { value }]) => {
        return [name, { type: value ? ('string' as const) : ('boolean' as const) }]
      }),
    ),
  })
  if (values['help']) {
    const rows = Object.entries<Option>(table).map(([name, option]) => {
      const { value, optional, help, default: initial } = option
      const head = `--${name}${value ? (optional ? ` [${value}]` : ` ${value}`) : ''}`
      return `  ${head.padEnd(20)} ${help}${initial ? ` (default ${initial})` : ''}`
    })
    console.log(`${purpose}\n\n${rows.join('\n')}`)
    return undefined
  }
  const entries = Object.entries<Option>(options).map(([name, option]) => {
    const given = values[name]
    return [name, given === undefined ? option.default : String(given)] as const
  })
  return Object.fromEntries(entries) as Values<O>
}

/** A whole number from `minimum` on. */
export function wholeNumber(name: string, text: string, minimum = 1): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < minimum) {
    throw new KeeplightError(
      'usage',
      `--${name} is ${text}, expected a whole number of ${minimum} or more`,
    )
  }
  return value
}

/** Whole numbers between commas. */
export const wholeNumbers = (name: string, text: string, minimum = 1): number[] =>
  text.split(',').map((part) => wholeNumber(name, part, minimum))

/** What a figure depends on beside the code. */
export function circumstances(device: Device, date: string | undefined) {
  const { adapter, kernelVariant } = device
  const versions = { keeplight: version, node: process.versions.node }
  return { ...(date === undefined ? {} : { date }), versions, adapter, kernelVariant }
}

/** `llvmpipe (LLVM 19, 256 bits) (mesa software-rasterizer), software` */
export function describeAdapter({ adapter }: Device): string {
  const { description, vendor, architecture, software } = adapter
  return `${description} (${vendor} ${architecture}), ${software ? 'software' : 'hardware'}`
}

/** `bench/results/llvmpipe-llvm-19-1-7-256-bits.json`: where results of an adapter are kept. */
export function resultsPath({ adapter, gpu }: Device): string {
  const { description, vendor, architecture } = adapter
  // Of some hardware the description names the driver alone.
  const card = adapter.software ? '' : gpu.adapterInfo.device
  const name = (card || description || `${vendor} ${architecture}`).toLowerCase()
  const slug = name.replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '')
  return `bench/results/${slug || 'adapter'}.json`
}

/** Writes to a temporary name first, so that a killed run leaves the old file or the new. */
export async function writeWhole(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`
  await writeFile(temporary, data)
  await rename(temporary, path)
}

/** Runs a benchmark; its promise is the exit code. Errors are printed and give 2. */
export async function runMain(name: string, main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main()
  } catch (error) {
    const known = error instanceof KeeplightError || error instanceof TypeError
    console.error(known ? `${name}: ${error.message}` : error)
    process.exitCode = 2
  }
}
