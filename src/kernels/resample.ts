import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { FRACTION_BITS } from './resampleTaps.ts'

const GROUP = 64

/**
 * `fixed`: bytes to bytes in Pillow's fixed point. The others compute in f32; bytes are rounded to
 * nearest, ties to even, and clamped.
 */
export type ResampleMode = 'fixed' | 'bytesToFloats' | 'floats' | 'floatsToBytes'

/**
 * One pass of a separable filter: along one axis, every output is a weighted sum of consecutive
 * inputs. Resizing, cutting and blurring differ in their taps alone, see `resampleTaps.ts`.
 *
 * x [batch, outer, inputs, inner] → out [batch, outer, outputs, inner], bytes packed into u32. `spans`
 * [outputs, 2] holds the first input and the number of inputs of each output, `weights` [outputs,
 * stride] what they count for; with `perImage` 1 both have such a table for every image of the batch.
 */
export const resampleKernel = kernelFamily(({ mode }: { readonly mode: ResampleMode }) => {
  const fromBytes = mode === 'fixed' || mode === 'bytesToFloats'
  const toBytes = mode === 'fixed' || mode === 'floatsToBytes'
  const fixed = mode === 'fixed'
  const load = fromBytes ? 'f32((x[i / 4u] >> (i % 4u * 8u)) & 255u)' : 'x[i]'
  const term = fixed
    ? 'sum += i32((x[i / 4u] >> (i % 4u * 8u)) & 255u) * weights[tap];'
    : `sum = fma(${load}, weights[tap], sum);`
  return defineKernel({
    label: `resample.${mode}`,
    bindings: {
      x: read(fromBytes ? 'u32' : 'f32'),
      spans: read('u32'),
      weights: read(fixed ? 'i32' : 'f32'),
      out: readWrite(toBytes ? 'u32' : 'f32'),
    },
    params: {
      size: 'u32',
      outer: 'u32',
      inputs: 'u32',
      outputs: 'u32',
      inner: 'u32',
      stride: 'u32',
      perImage: 'u32',
    },
    workgroups: ({ size }) => linearWorkgroups(toBytes ? Math.ceil(size / 4) : size, GROUP),
    wgsl: /* wgsl */ `
/** The output at \`index\` of the flat array; ${fixed ? 'an integer in fixed point' : 'a sum of floats'}. */
fn filtered(index: u32) -> ${fixed ? 'i32' : 'f32'} {
  let rest = index / params.inner;
  let line = rest / params.outputs;
  let output = rest % params.outputs + line / params.outer * params.outputs * params.perImage;
  var i = (line * params.inputs + spans[2u * output]) * params.inner + index % params.inner;
  var tap = output * params.stride;
  let end = tap + spans[2u * output + 1u];
  var sum = ${fixed ? `${1 << (FRACTION_BITS - 1)}` : '0.0'};
  while (tap < end) {
    ${term}
    i += params.inner;
    tap++;
  }
  return sum;
}
${mainWgsl(GROUP)} {
  let item = linearWorkgroup(id, count) * ${GROUP}u + thread;
  ${
    toBytes
      ? /* wgsl */ `
  if (item * 4u >= params.size) { return; }
  var word = 0u;
  for (var j = 0u; j < min(4u, params.size - item * 4u); j++) {
    let value = filtered(item * 4u + j);
    let byte = ${
      fixed
        ? `u32(clamp(value >> ${FRACTION_BITS}u, 0, 255))`
        : 'u32(round(clamp(value, 0.0, 255.0)))'
    };
    word |= byte << (8u * j);
  }
  out[item] = word;`
      : /* wgsl */ `
  if (item < params.size) { out[item] = filtered(item); }`
  }
}
`,
  })
})
