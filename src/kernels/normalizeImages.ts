import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite } from './kernel.ts'

const GROUP = 64

/**
 * Bytes to what the first layer of a model takes: x [batch, area, channels], packed into u32 →
 * out [batch, channels, area], out = table[channel][byte].
 *
 * The table holds (byte / 255 − mean) / std: WGSL may be off in the last places of a division, and
 * a load is cheaper than two.
 */
export const normalizeImagesKernel = defineKernel({
  label: 'normalizeImages',
  bindings: { x: read('u32'), table: read('f32'), out: readWrite('f32') },
  params: { size: 'u32', area: 'u32', channels: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(size, GROUP),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let item = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (item >= params.size) { return; }
  let plane = item / params.area;
  let channel = plane % params.channels;
  let image = plane / params.channels;
  let i = (image * params.area + item % params.area) * params.channels + channel;
  out[item] = table[channel * 256u + ((x[i / 4u] >> (i % 4u * 8u)) & 255u)];
}
`,
})

/** [channels, 256]: (byte / 255 − mean) / std, every step rounded to f32, as the Python libraries do it. */
export function normalizationTable(
  mean: readonly number[],
  std: readonly number[],
): Float32Array<ArrayBuffer> {
  const { fround } = Math
  const table = new Float32Array(mean.length * 256)
  for (let channel = 0; channel < mean.length; channel++) {
    for (let byte = 0; byte < 256; byte++) {
      const centred = fround(fround(byte / 255) - fround(mean[channel]!))
      table[channel * 256 + byte] = centred / fround(std[channel]!)
    }
  }
  return table
}
