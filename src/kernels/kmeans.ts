import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

const GROUP = 64

/**
 * One assignment step of k-means for several restarts at once.
 *
 * `products` [rows, restarts·k] holds x·centre; the nearest centre minimises ‖c‖² − 2x·c, ties to the
 * lowest number. `assignments` [rows, restarts] gets it, `distances` [rows, restarts] the squared
 * distance, and `oneHot` [rows, restarts·k] a one there: its product with x sums each cluster's rows
 * without atomics.
 */
export const assignKernel = defineKernel({
  label: 'kmeansAssign',
  bindings: {
    products: read('f32'),
    centreNorms: read('f32'),
    rowNorms: read('f32'),
    assignments: readWrite('u32'),
    distances: readWrite('f32'),
    oneHot: readWrite('f32'),
  },
  params: { rows: 'u32', restarts: 'u32', k: 'u32' },
  workgroups: ({ rows, restarts }) => linearWorkgroups(rows * restarts, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let item = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (item >= params.rows * params.restarts) { return; }
  let start = item * params.k;
  let centre = item % params.restarts * params.k;
  var best = 3.4e38;
  var nearest = 0u;
  for (var c = 0u; c < params.k; c++) {
    let distance = centreNorms[centre + c] - 2.0 * products[start + c];
    if (distance < best) {
      best = distance;
      nearest = c;
    }
  }
  for (var c = 0u; c < params.k; c++) { oneHot[start + c] = select(0.0, 1.0, c == nearest); }
  assignments[item] = nearest;
  distances[item] = max(best + rowNorms[item / params.restarts], 0.0);
}
`,
})
