/**
 * Activation functions as WGSL and their derivatives, shared by matmul epilogues and by the
 * elementwise kernels, so that a fused and a separate activation give the same bits.
 */

export type Activation = 'none' | 'relu' | 'gelu' | 'quickGelu' | 'silu'

/**
 * erf by Abramowitz and Stegun 7.1.26 is good to 1.5e-7 absolute, which costs relative accuracy
 * where GELU crosses zero; so small |x| takes the Maclaurin series, and the tail takes erfc's
 * continued form by W. J. Cody's split at 0.5. WGSL has no erf.
 */
const erfWgsl = /* wgsl */ `
fn erfSeries(x: f32) -> f32 {
  let t = x * x;
  let p = 1.1283791670955126 + t * (-0.37612638903183754 + t * (0.11283791670955126 + t *
    (-0.026866170645131252 + t * (0.005223977625442188 + t * (-0.0008548327023450852 + t *
    (0.00012055332981789664 + t * (-0.0000149256503584 + t * 0.0000016462114365889)))))));
  return x * p;
}
// erfc(a) for a >= 0 (Numerical Recipes erfcc, relative error below 1.2e-7).
fn erfcPositive(a: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.5 * a);
  return t * exp(-a * a - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t *
    (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t *
    (-0.82215223 + t * 0.17087277)))))))));
}
// 1 + erf(x), accurate for very negative x too, where 1 + erf cancels.
fn onePlusErf(x: f32) -> f32 {
  let a = min(abs(x), 12.0);
  if (a < 1.0) { return 1.0 + erfSeries(x); }
  let c = erfcPositive(a);
  return select(2.0 - c, c, x < 0.0);
}
`

/** WGSL functions `activate(x)` and `activateGradient(x)` (dy/dx at the pre-activation x). */
export function activationWgsl(activation: Activation): string {
  switch (activation) {
    case 'none':
      return /* wgsl */ `
fn activate(x: f32) -> f32 { return x; }
fn activateGradient(x: f32) -> f32 { return 1.0; }
`
    case 'relu':
      return /* wgsl */ `
// Not max(x, 0), which would turn NaN into 0 and hide it.
fn activate(x: f32) -> f32 { return select(x, 0.0, x < 0.0); }
fn activateGradient(x: f32) -> f32 { return select(0.0, 1.0, x > 0.0); }
`
    case 'gelu':
      return /* wgsl */ `${erfWgsl}
fn activate(x: f32) -> f32 { return 0.5 * x * onePlusErf(x * 0.7071067811865476); }
fn activateGradient(x: f32) -> f32 {
  let z = clamp(x, -15.0, 15.0);
  return 0.5 * onePlusErf(z * 0.7071067811865476) + z * 0.3989422804014327 * exp(-0.5 * z * z);
}
`
    case 'quickGelu':
      return /* wgsl */ `
fn activate(x: f32) -> f32 {
  let z = max(x, -50.0);
  return z / (1.0 + exp(-1.702 * z));
}
fn activateGradient(x: f32) -> f32 {
  let z = clamp(x, -50.0, 50.0);
  let s = 1.0 / (1.0 + exp(-1.702 * z));
  return s * (1.0 + 1.702 * z * (1.0 - s));
}
`
    case 'silu':
      return /* wgsl */ `
fn activate(x: f32) -> f32 {
  let z = max(x, -85.0);
  return z / (1.0 + exp(-z));
}
fn activateGradient(x: f32) -> f32 {
  let z = clamp(x, -85.0, 85.0);
  let s = 1.0 / (1.0 + exp(-z));
  return s * (1.0 + z * (1.0 - s));
}
`
  }
}
