import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64

/**
 * Puts row i of x [rows, columns] into row `places[i]` of a table, from column `column` on. `out` holds
 * the table's rows `firstRow` … `firstRow + held`, of `width` columns; rows of other places are left to
 * the dispatches over other parts, and a place beyond the table drops its row. Places differ.
 */
export const placeRowsKernel = defineKernel({
  label: 'placeRows',
  bindings: { x: read('f32'), places: read('u32'), out: readWrite('f32') },
  params: {
    rows: 'u32',
    columns: 'u32',
    width: 'u32',
    column: 'u32',
    firstRow: 'u32',
    held: 'u32',
    /** What values are multiplied by. */
    scale: 'f32',
  },
  workgroups: ({ rows, columns }) => linearWorkgroups(rows * columns, GROUP),
  cost: ({ rows, columns }) => ({ bytes: (2 * columns + 1) * rows * 4 }),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let item = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (item >= params.rows * params.columns) { return; }
  let place = places[item / params.columns];
  if (place < params.firstRow || place - params.firstRow >= params.held) { return; }
  let at = (place - params.firstRow) * params.width + params.column + item % params.columns;
  out[at] = x[item] * params.scale;
}
`,
})
