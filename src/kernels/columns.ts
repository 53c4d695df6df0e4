import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64

const params = {
  rows: 'u32',
  /** Columns of the wide matrix. */
  columns: 'u32',
  /** Columns of the narrow one. */
  width: 'u32',
  /** The wide matrix's column that the narrow one's first is. */
  first: 'u32',
} as const

type Sizes = Readonly<Record<keyof typeof params, number>>

const wideRow = ({ columns }: Pick<Sizes, 'columns'>): number => columns
const narrowRow = ({ width }: Pick<Sizes, 'width'>): number => width
const workgroups = ({ rows, width }: Sizes) => linearWorkgroups(rows * width, GROUP)

const main = (move: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.rows * params.width) { return; }
  let wide = i / params.width * params.columns + params.first + i % params.width;
  ${move}
}
`

/** out [rows, width] = `width` columns of x [rows, columns] from `first` on. */
export const takeColumnsKernel = defineKernel({
  label: 'takeColumns',
  bindings: { x: read('f32'), out: readWrite('f32') },
  params,
  splits: [{ along: 'rows', per: { x: wideRow, out: narrowRow } }],
  workgroups,
  wgsl: main('out[i] = x[wide];'),
})

/** Writes x [rows, width] to the columns of out [rows, columns] from `first` on. */
export const placeColumnsKernel = defineKernel({
  label: 'placeColumns',
  bindings: { x: read('f32'), out: readWrite('f32') },
  params,
  splits: [{ along: 'rows', per: { x: narrowRow, out: wideRow } }],
  workgroups,
  wgsl: main('out[wide] = x[i];'),
})
