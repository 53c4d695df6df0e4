import { erfWgsl } from './functions.ts'

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
      return /* wgsl */ `${erfWgsl}
fn activate(x: f32) -> f32 { return 0.5 * x * onePlusErf(x * 0.7071067811865476); }
fn activateGradient(x: f32) -> f32 {
  let z = select(select(x, 15.0, x > 15.0), -15.0, x < -15.0);
  return 0.5 * onePlusErf(z * 0.7071067811865476) + z * 0.3989422804014327 * exp(-0.5 * z * z);
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
