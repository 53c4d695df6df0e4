import { normalWgsl } from './functions.ts'

/**
 * Activation functions as WGSL and their derivatives, shared by matmul epilogues and by the
 * elementwise kernels, so that a fused and a separate activation give the same bits.
 */

export type Activation = 'none' | 'relu' | 'gelu' | 'quickGelu' | 'silu'

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
      return /* wgsl */ `${normalWgsl}
// |x|/√2, past which both the density and the tail are 0.
fn geluArgument(x: f32) -> f32 {
  let a = abs(x) * 0.7071067811865476;
  return select(a, 9.38, a > 9.38);
}
fn activate(x: f32) -> f32 {
  let a = geluArgument(x);
  let tail = halfErfc(a, expNear(-a * a));
  return x * select(1.0 - tail, tail, x < 0.0);
}
fn activateGradient(x: f32) -> f32 {
  let a = geluArgument(x);
  let density = expNear(-a * a);
  let tail = halfErfc(a, density);
  let slope = 0.5641895835477563 * a * density;
  return select(1.0 - tail + slope, tail - slope, x < 0.0);
}
`
    case 'quickGelu':
      return /* wgsl */ `
fn activate(x: f32) -> f32 {
  // Not max(x, -50), which would turn NaN into -50 and hide it.
  let z = select(x, -50.0, x < -50.0);
  return z / (1.0 + exp(-1.702 * z));
}
fn activateGradient(x: f32) -> f32 {
  let z = select(select(x, 50.0, x > 50.0), -50.0, x < -50.0);
  let s = 1.0 / (1.0 + exp(-1.702 * z));
  return s * (1.0 + 1.702 * z * (1.0 - s));
}
`
    case 'silu':
      return /* wgsl */ `
fn activate(x: f32) -> f32 {
  let z = select(x, -85.0, x < -85.0);
  return z / (1.0 + exp(-z));
}
fn activateGradient(x: f32) -> f32 {
  let z = select(select(x, 85.0, x > 85.0), -85.0, x < -85.0);
  let s = 1.0 / (1.0 + exp(-z));
  return s * (1.0 + z * (1.0 - s));
}
`
  }
}
