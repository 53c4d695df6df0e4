import type { AdapterDescription } from '../../src/index.ts'
import { GRADIENT_TOLERANCE, TOLERANCE } from './case.ts'
import { catalogue } from './index.ts'
import type { Measured } from './measure.ts'

/**
 * How far errors may rise above what docs/numerics.md states before a test asks for the document to be
 * written again: compilers of another driver version fuse and order additions in other ways.
 */
export const DRIFT = 4
/** Errors below this, in f32 nothing but the last bits, may always be. */
export const NOISE = 3e-7

const INTRODUCTION = `# Numerics

<!-- Written by \`npm run docs:numerics\`; edit test/catalogue/numericsDoc.ts instead. -->

Errors of every op against plain loops in f64, on inputs like those of a vision transformer: standard
normal activations, the same with outliers of ±100 in every 61st channel ("massive activations"), and
activations around 10. Reference and op get the same rounded inputs, so the error is the op's alone.

- **max**, **mean**: |error| over the largest expected magnitude of the output.
- **ULP**: the largest error of elementwise ops in units in the last place of the expected value, f32
  or f16 as the output is, where that is 1e-30 or more.
- **gradient**: of Σ output · w with w in [−1, 1), for every input that has one, against central
  differences of the f64 reference at up to 24 elements; relative to the largest gradient.
- **allowed**: what tests allow for output and gradient on every adapter.

A test fails when an op is missing here, or when its error on an adapter of this file is more than
${DRIFT} times what is stated and above ${NOISE}; then \`npm run docs:numerics -- --adapter NAME\` writes
that adapter's table again.
`

/** `lavapipe`, `SwiftShader`, or what the driver calls the GPU. */
export function adapterName({ vendor, architecture, description }: AdapterDescription): string {
  const all = `${architecture} ${description}`
  if (/swiftshader/i.test(all)) return 'SwiftShader'
  if (/llvmpipe|lavapipe/i.test(all)) return 'lavapipe'
  return description || `${vendor} ${architecture}`
}

const number = (value: number | undefined): string =>
  value === undefined ? '' : value === 0 ? '0' : value.toExponential(1)

const COLUMNS = [
  ...['op', 'case', 'dtype', 'max', 'mean', 'ULP'],
  ...['gradient max', 'gradient mean', 'allowed'],
]

/** The section of one adapter: a heading, the driver and the table. */
export function section(adapter: AdapterDescription, measured: readonly Measured[]): string {
  const rows = catalogue.map((opCase, i) => {
    const { out, ulp, gradient } = measured[i]!
    const { tolerance = TOLERANCE, gradientTolerance = GRADIENT_TOLERANCE, dtype = 'f32' } = opCase
    const allowed = [number(tolerance), ...(gradient ? [number(gradientTolerance)] : [])]
    return [
      ...[`\`${opCase.op}\``, opCase.name, dtype],
      ...[number(out.max), number(out.mean), ulp === undefined ? '' : ulp.toFixed(1)],
      ...[number(gradient?.max), number(gradient?.mean), allowed.join(', ')],
    ]
  })
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const { description, vendor, architecture } = adapter
  return [
    `## ${adapterName(adapter)}`,
    '',
    `Driver: ${description || 'not named'} (${vendor} ${architecture}).`,
    '',
    line(COLUMNS),
    line(COLUMNS.map((_, i) => (i < 3 ? '---' : '--:'))),
    ...rows.map(line),
    '',
  ].join('\n')
}

/** The sections of a document by adapter, each with its heading. */
export function sectionsOf(document: string): Map<string, string> {
  const parts = document.split(/^(?=## )/m).slice(1)
  return new Map(
    parts.map((part) => [part.slice(3, part.indexOf('\n')).trim(), part.trimEnd() + '\n']),
  )
}

/** The document with one adapter's section new, the others as they were, in order of their names. */
export function withSection(document: string, name: string, text: string): string {
  const sections = sectionsOf(document).set(name, text)
  const sorted = [...sections].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, part]) => part)
  return [INTRODUCTION, ...sorted].join('\n')
}

export interface Stated {
  readonly max: number
  readonly gradient: number | undefined
}

/** What a section states, by titles of cases. */
export function statedBy(text: string): Map<string, Stated> {
  const rows = text
    .split('\n')
    .filter((row) => row.startsWith('| `'))
    .map((row) => row.split('|').map((cell) => cell.trim()))
  return new Map(
    rows.map(([, op, name, dtype, max, , , gradient]) => {
      const title = `${op!.replaceAll('`', '')}: ${name}${dtype === 'f32' ? '' : `, ${dtype}`}`
      return [title, { max: Number(max), gradient: gradient ? Number(gradient) : undefined }]
    }),
  )
}
