import { distanceFeatures, distanceWgsl, distanceWorkgroups, layoutOf, rowOf } from './distance.ts'
import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
  type KernelVariant,
} from './kernel.ts'
import { lines, range } from './template.ts'

const GROUP = 64

/**
 * The `k` rows of y [width, dimension] nearest to every row of x [rows, dimension], as lists `squared`
 * and `nearest` [splits, rows, k] of squared distances and row numbers, ascending, ties by number;
 * list s is of the s-th part of y. Places that nothing fills hold 3.4e38 and 2³² − 1.
 *
 * Row numbers count from `first`, and rows of x from `own`: a row is not its own neighbour when
 * `others` is 1. With `resume` 1 the lists go on from what an earlier part of a larger y left in them.
 *
 * The lists lie in storage: a row meets about k·ln(width/k) candidates that enter its list, few beside
 * the distances that have to be computed.
 */
export const nearestRowsKernel = kernelFamily(
  ({ variant }: { readonly variant: KernelVariant }) => {
    const strips = range(layoutOf(variant).strips)
    return defineKernel({
      label: `nearestRows.${variant}`,
      bindings: {
        x: read('f32'),
        y: read('f32'),
        nearest: readWrite('u32'),
        squared: readWrite('f32'),
      },
      params: {
        rows: 'u32',
        width: 'u32',
        dimension: 'u32',
        k: 'u32',
        first: 'u32',
        own: 'u32',
        others: 'u32',
        resume: 'u32',
        splits: 'u32',
      },
      cost: ({ rows, width, dimension }) => ({ flops: 3 * rows * width * dimension }),
      features: distanceFeatures(variant),
      workgroups: ({ rows, splits }) => distanceWorkgroups(variant, rows, splits),
      wgsl: distanceWgsl(variant, {
        module: /* wgsl */ `
/** Puts a candidate into the list at \`at\`, behind those as near; returns what enters from now on. */
fn insert(at: u32, distance: f32, row: u32) -> f32 {
  var place = params.k - 1u;
  while (place > 0u && squared[at + place - 1u] > distance) {
    squared[at + place] = squared[at + place - 1u];
    nearest[at + place] = nearest[at + place - 1u];
    place--;
  }
  squared[at + place] = distance;
  nearest[at + place] = row;
  return squared[at + params.k - 1u];
}
/** The distance below which a row enters the list; 0 lets none in. */
fn open(at: u32, row: u32) -> f32 {
  if (row >= params.rows) { return 0.0; }
  if (params.resume == 1u) { return squared[at + params.k - 1u]; }
  for (var i = 0u; i < params.k; i++) {
    squared[at + i] = 3.4e38;
    nearest[at + i] = 0xffffffffu;
  }
  return 3.4e38;
}`,
        start: /* wgsl */ `
  let share = (params.width + params.splits - 1u) / params.splits;
  let begin = min(split * share, params.width);
  let end = min(begin + share, params.width);
${lines(
  strips.map((s) => {
    return /* wgsl */ `
  let list${s} = (split * params.rows + ${rowOf(s)}) * params.k;
  var limit${s} = open(list${s}, ${rowOf(s)});
  let own${s} = select(0xffffffffu, params.own + ${rowOf(s)}, params.others == 1u);`
  }),
)}`,
        each: (distance) => /* wgsl */ `
      let row = params.first + c;
${lines(
  strips.map(
    (s) => /* wgsl */ `
      {
        let d = ${distance(s)};
        if (d < limit${s} && row != own${s}) { limit${s} = insert(list${s}, d, row); }
      }`,
  ),
)}`,
      }),
    })
  },
)

/**
 * Merges the lists of {@link nearestRowsKernel}: parts [splits, rows, k] → `squared`, `nearest`
 * [rows, k]. Lists are in ascending order of their row numbers, so taking the first of equals keeps
 * ties by number.
 */
export const mergeNearestKernel = defineKernel({
  label: 'mergeNearest',
  bindings: {
    nearestParts: read('u32'),
    squaredParts: read('f32'),
    nearest: readWrite('u32'),
    squared: readWrite('f32'),
  },
  params: { rows: 'u32', k: 'u32', splits: 'u32' },
  workgroups: ({ rows }) => linearWorkgroups(rows, GROUP),
  wgsl: /* wgsl */ `
const NONE = 0xffffffffu;
${mainWgsl(GROUP)} {
  let row = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (row >= params.rows) { return; }
  // Each round takes the best candidate behind the last one taken.
  var last = -1.0;
  var lastRow = 0u;
  for (var place = 0u; place < params.k; place++) {
    var best = 3.4e38;
    var bestRow = NONE;
    for (var split = 0u; split < params.splits; split++) {
      let at = (split * params.rows + row) * params.k;
      for (var i = 0u; i < params.k; i++) {
        let d = squaredParts[at + i];
        let r = nearestParts[at + i];
        if (d > last || (d == last && r > lastRow && place > 0u)) {
          if (d < best || (d == best && r < bestRow)) {
            best = d;
            bestRow = r;
          }
          break;
        }
      }
    }
    squared[row * params.k + place] = best;
    nearest[row * params.k + place] = bestRow;
    last = best;
    lastRow = bestRow;
  }
}
`,
})
