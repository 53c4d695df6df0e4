import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'

const GROUP = 64
/** Elements or vec4s to a thread. */
const EACH = 4

interface GatherRowsOptions {
  /** Whether `columns` counts vec4s. */
  readonly vector: boolean
}

/**
 * out[m] = x[index[m]]: x [rows, columns], index [count] → out [count, columns]. Of x, `held` rows from
 * `first` on are bound; what is not among them stays as it is.
 */
export const gatherRowsKernel = kernelFamily(({ vector }: GatherRowsOptions) => {
  const type = vector ? 'vec4<f32>' : 'f32'
  const row = ({ columns }: { readonly columns: number }): number => columns * (vector ? 4 : 1)
  return defineKernel({
    label: `gatherRows${vector ? '.vec4' : ''}`,
    bindings: { x: read(type), index: read('u32'), out: readWrite(type) },
    params: { rows: 'u32', columns: 'u32', count: 'u32', first: 'u32', held: 'u32' },
    splits: [
      { along: 'count', per: { index: 1, out: row } },
      { along: 'held', offset: 'first', per: { x: row } },
    ],
    workgroups: ({ columns, count }) => linearWorkgroups(columns * count, GROUP * EACH),
    cost: ({ columns, count }) => ({ bytes: (2 * columns * (vector ? 4 : 1) + 1) * count * 4 }),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let start = linearWorkgroup(id, count) * ${GROUP * EACH}u;
  let end = min(start + ${GROUP * EACH}u, params.columns * params.count);
  for (var i = start + thread; i < end; i += ${GROUP}u) {
    // An index past the end takes the last row: a read outside the buffer could give anything.
    // Before 'first', the difference wraps to a number far beyond 'held'.
    let m = i / params.columns;
    let row = min(index[m], params.rows - 1u) - params.first;
    if (row < params.held) { out[i] = x[row * params.columns + i - m * params.columns]; }
  }
}
`,
  })
})
