import { defineKernel, linearWorkgroups, mainWgsl, read, readWrite, type Split } from './kernel.ts'

/**
 * Casts between f32 and f16, two f16 to a word, in integers: WGSL leaves the rounding and subnormals of
 * `pack2x16float` to the adapter, these give the same bits everywhere, those of `model/half.ts`.
 */

const GROUP = 64

/** Between words, which hold two elements. */
const splits: readonly Split<'x' | 'out', 'size'>[] = [
  { along: 'size', per: { x: 1, out: 1 }, step: 2 },
]

/** out [⌈size / 2⌉ words] = x [size] rounded to f16: to nearest, ties to even; NaN stays NaN. */
export const toF16Kernel = defineKernel({
  label: 'toF16',
  splits,
  bindings: { x: read('u32'), out: readWrite('u32') },
  params: { size: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(Math.ceil(size / 2), GROUP),
  wgsl: /* wgsl */ `
// f16 bits of the f32 bits: the mantissa loses 13 bits, more where the result is subnormal.
fn half(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
  if (magnitude >= 0x477ff000u) { return sign | 0x7c00u; }
  let exponent = magnitude >> 23u;
  if (exponent < 102u) { return sign; }
  let subnormal = exponent < 113u;
  let shift = select(13u, 126u - exponent, subnormal);
  let rebased = select(magnitude - (112u << 23u), (magnitude & 0x7fffffu) | 0x800000u, subnormal);
  let kept = rebased >> shift;
  let rest = rebased & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  let up = rest > middle || (rest == middle && (kept & 1u) == 1u);
  return sign | (kept + select(0u, 1u, up));
}
${mainWgsl(GROUP)} {
  let word = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let i = word * 2u;
  if (i >= params.size) { return; }
  var pair = half(x[i]);
  if (i + 1u < params.size) { pair |= half(x[i + 1u]) << 16u; }
  out[word] = pair;
}
`,
})

/** out [size] = x [⌈size / 2⌉ words of f16], exactly. */
export const toF32Kernel = defineKernel({
  label: 'toF32',
  splits,
  bindings: { x: read('u32'), out: readWrite('u32') },
  params: { size: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(size, GROUP),
  wgsl: /* wgsl */ `
fn float(bits: u32) -> u32 {
  let sign = (bits & 0x8000u) << 16u;
  let exponent = (bits >> 10u) & 31u;
  let mantissa = bits & 1023u;
  if (exponent == 31u) { return sign | 0x7f800000u | (mantissa << 13u); }
  if (exponent == 0u) { return sign | bitcast<u32>(f32(mantissa) * 5.9604644775390625e-8); }
  return sign | ((exponent + 112u) << 23u) | (mantissa << 13u);
}
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  if (i >= params.size) { return; }
  out[i] = float((x[i >> 1u] >> ((i & 1u) * 16u)) & 0xffffu);
}
`,
})
