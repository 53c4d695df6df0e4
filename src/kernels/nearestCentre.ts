import {
  BLOCK,
  distanceFeatures,
  distanceWgsl,
  distanceWorkgroups,
  layoutOf,
  rowOf,
} from './distance.ts'
import { defineKernel, kernelFamily, read, readWrite, type KernelVariant } from './kernel.ts'
import { lines, range } from './template.ts'

/**
 * The nearest centre of every row of x [rows, dimension], for several restarts at once: y holds
 * `restarts`·`k` centres, and `nearest` and `squared` [rows, restarts] get the number of the nearest
 * of a restart's k, from `first` on, and its squared distance; ties to the lowest number.
 *
 * With `first` above 0 the search goes on from what `nearest` and `squared` hold: centres 0 … first − 1
 * were searched before. `splits` workgroups share the restarts of the same rows.
 */
export const nearestCentreKernel = kernelFamily(
  ({ variant }: { readonly variant: KernelVariant }) => {
    const strips = range(layoutOf(variant).strips)
    return defineKernel({
      label: `nearestCentre.${variant}`,
      bindings: {
        x: read('f32'),
        y: read('f32'),
        nearest: readWrite('u32'),
        squared: readWrite('f32'),
      },
      params: {
        rows: 'u32',
        dimension: 'u32',
        restarts: 'u32',
        k: 'u32',
        first: 'u32',
        splits: 'u32',
      },
      cost: ({ rows, dimension, restarts, k }) => ({ flops: 3 * rows * dimension * restarts * k }),
      features: distanceFeatures(variant),
      workgroups: ({ rows, splits }) => distanceWorkgroups(variant, rows, splits),
      wgsl: distanceWgsl(variant, {
        module: /* wgsl */ `
struct Best { distance: f32, centre: u32 }
/** What is known of a row before the first centre of a restart. */
fn known(row: u32, restart: u32) -> Best {
  if (params.first == 0u || row >= params.rows || restart >= params.restarts) {
    return Best(3.4e38, 0u);
  }
  let i = row * params.restarts + restart;
  return Best(squared[i], nearest[i]);
}
fn store(row: u32, restart: u32, best: Best) {
  if (row >= params.rows) { return; }
  let i = row * params.restarts + restart;
  squared[i] = best.distance;
  nearest[i] = best.centre;
}`,
        start: /* wgsl */ `
  let share = (params.restarts + params.splits - 1u) / params.splits;
  var restart = split * share;
  let begin = min(restart, params.restarts) * params.k;
  let end = min(restart + share, params.restarts) * params.k;
  var number = 0u;
${lines(strips.map((s) => `  var best${s} = known(${rowOf(s)}, restart);`))}`,
        each: (distance) => /* wgsl */ `
${lines(
  strips.map((s) => {
    return `      { let d = ${distance(s)}; if (d < best${s}.distance) { best${s} = Best(d, params.first + number); } }`
  }),
)}
      number++;
      if (number == params.k) {
${lines(strips.map((s) => `        store(${rowOf(s)}, restart, best${s});`))}
        restart++;
        number = 0u;
${lines(strips.map((s) => `        best${s} = known(${rowOf(s)}, restart);`))}
      }`,
      }),
    })
  },
)

/**
 * Parts of the restarts that go to different workgroups: as many as fill blocks well on a GPU, which
 * wants many workgroups; one on a software adapter.
 */
export const centreSplits = (variant: KernelVariant, restarts: number, k: number): number =>
  variant === 'tile' ? Math.ceil(restarts / Math.max(1, Math.floor((2 * BLOCK) / k))) : 1
