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

/** out[m] = x[index[m]]: x [rows, columns], index [count] → out [count, columns]. */
export const gatherRowsKernel = kernelFamily(({ vector }: GatherRowsOptions) => {
  const type = vector ? 'vec4<f32>' : 'f32'
  return defineKernel({
    label: `gatherRows${vector ? '.vec4' : ''}`,
    bindings: { x: read(type), index: read('u32'), out: readWrite(type) },
    params: { rows: 'u32', columns: 'u32', count: 'u32' },
    workgroups: ({ columns, count }) => linearWorkgroups(columns * count, GROUP * EACH),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let start = linearWorkgroup(id, count) * ${GROUP * EACH}u;
  let end = min(start + ${GROUP * EACH}u, params.columns * params.count);
  for (var i = start + thread; i < end; i += ${GROUP}u) {
    // An index past the end takes the last row: a read outside the buffer could give anything.
    let row = min(index[i / params.columns], params.rows - 1u);
    out[i] = x[row * params.columns + i % params.columns];
  }
}
`,
  })
})
