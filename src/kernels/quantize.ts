import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite, splitRows } from './kernel.ts'

const GROUP = 64

/**
 * Symmetric int8 quantisation by rows: x ≈ values · scales, with scales = max |row| / 127.
 *
 * A row with a NaN or an infinity gets the scale NaN, so that it can't pass as numbers.
 */
export const quantizeScalesKernel = defineKernel({
  label: 'quantize.scales',
  splits: [splitRows(['x'], { scales: 1 })],
  // As bits: a compiler may assume that floats are finite.
  bindings: { x: read('u32'), scales: readWrite('u32') },
  params: { rows: 'u32', columns: 'u32' },
  workgroups: ({ rows }) => linearWorkgroups(rows, 1),
  wgsl: /* wgsl */ `
var<workgroup> largest: array<u32, ${GROUP}>;
${mainWgsl(GROUP)} {
  let row = linearWorkgroup(id, count);
  if (row >= params.rows) { return; }
  // Magnitudes order as their bits do.
  var most = 0u;
  for (var column = thread; column < params.columns; column += ${GROUP}u) {
    most = max(most, x[row * params.columns + column] & 0x7fffffffu);
  }
  largest[thread] = most;
  for (var half = ${GROUP / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { largest[thread] = max(largest[thread], largest[thread + half]); }
  }
  if (thread == 0u) {
    let bits = largest[0];
    scales[row] = select(bitcast<u32>(bitcast<f32>(bits) / 127.0), 0x7fc00000u, bits >= 0x7f800000u);
  }
}
`,
})

/**
 * values [⌈rows·columns / 4⌉ words of four] = round(x / scale of the row), ties to even; 0 where the
 * scale is 0 or NaN. Rows follow each other without padding, so a word may hold the end of one row and
 * the start of the next.
 */
export const quantizeValuesKernel = defineKernel({
  label: 'quantize.values',
  // Between rows; an aligned place is a whole word.
  splits: [
    {
      along: 'size',
      per: { x: 1, values: 1, scales: ({ columns }) => 1 / columns },
      step: ({ columns }) => columns,
    },
  ],
  bindings: { x: read('f32'), scales: read('f32'), values: readWrite('u32') },
  params: { size: 'u32', columns: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(Math.ceil(size / 4), GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let word = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (word * 4u >= params.size) { return; }
  var packed = 0u;
  for (var lane = 0u; lane < 4u; lane++) {
    let i = word * 4u + lane;
    if (i >= params.size) { break; }
    let scale = scales[i / params.columns];
    if (!(scale > 0.0)) { continue; }
    let value = i32(clamp(round(x[i] / scale), -127.0, 127.0));
    packed |= (bitcast<u32>(value) & 255u) << (lane * 8u);
  }
  values[word] = packed;
}
`,
})
