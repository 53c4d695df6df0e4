/**
 * Functions that WGSL lacks or bounds too loosely, as WGSL text. Its exp may be 3 + 2|x| ULP off, its
 * log 2⁻²¹ near 1, its tanh 1e-5 and NaN past ±88; these are within a few ULP over the whole range,
 * and NaN in gives NaN out: `select` by a comparison keeps it where min, max and clamp may not.
 */

/**
 * `expNear(x)`, exp for −88.02 ≤ x ≤ 88, in one factor: x = n·ln 2 + r (Cody and Waite's two-part ln 2)
 * and a polynomial of degree 6 that is within 1.1e-8 on |r| ≤ ln 2 / 2. Below the normal range it is 0.
 * Rounding is the addition of 1.5·2²³, whose low bits then are n: `round` and `i32` cost more on CPUs.
 * The polynomial is split in two, so that half as many operations wait for one another.
 */
const expNearWgsl = /* wgsl */ `
fn expPower(x: f32) -> i32 {
  return bitcast<i32>(x * 1.4426950408889634 + 12582912.0) - 0x4b400000;
}
fn expRest(x: f32, n: f32) -> f32 {
  let r = (x - n * 0.693359375) + n * 2.12194440e-4;
  let q = r * r;
  return 1.0 + (r + q * ((0.5 + r * 0.16666573382) + q * ((0.04166655011 + r * 0.0083637738744)
    + q * 0.0013926926614)));
}
fn expNear(x: f32) -> f32 {
  let power = expPower(x);
  return expRest(x, f32(power)) * bitcast<f32>((power + 127) << 23u);
}
`

/** exp; 2ⁿ is two factors, so that results below the normal range still come out. */
export const expWgsl = /* wgsl */ `${expNearWgsl}
fn preciseExp(x: f32) -> f32 {
  let below = select(x, 89.0, x > 89.0);
  let z = select(below, -105.0, below < -105.0);
  let power = expPower(z);
  let half = power >> 1u;
  let first = bitcast<f32>((half + 127) << 23u);
  let second = bitcast<f32>((power - half + 127) << 23u);
  return expRest(z, f32(power)) * first * second;
}
// exp(−a) for a >= 0, and 0 below the normal range.
fn expOfMinus(a: f32) -> f32 { return expNear(-select(a, 88.0, a > 88.0)); }
`

/** The natural logarithm as in fdlibm's `logf`; −∞ at 0, NaN below. */
export const logWgsl = /* wgsl */ `
fn preciseLog(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  if (bits << 1u == 0u) { return bitcast<f32>((bits & 0u) | 0xff800000u); }
  if (bits >= 0x80000000u) { return bitcast<f32>(bits | 0x7fc00000u); }
  if (bits >= 0x7f800000u) { return x; }
  let small = bits < 0x00800000u;
  let scaled = bitcast<u32>(select(x, x * 8388608.0, small));
  let raw = bitcast<f32>((scaled & 0x007fffffu) | 0x3f800000u);
  let upper = raw > 1.4142135;
  let m = select(raw, raw * 0.5, upper);
  let e = f32(i32(scaled >> 23u) - select(127, 150, small) + select(0, 1, upper));
  let f = m - 1.0;
  let s = f / (2.0 + f);
  let z = s * s;
  let rest = z * (0.66666662693 + z * (0.40000972152 + z * (0.28498786688 + z * 0.24279078841)));
  let square = 0.5 * f * f;
  return e * 0.69313812256 - ((square - (s * (square + rest) + e * 9.0580006145e-6)) - f);
}
`

/** tanh: Cephes' odd polynomial below 0.625, 1 − 2e⁻²ˣ/(1 + e⁻²ˣ) above, where nothing cancels. */
export const tanhWgsl = /* wgsl */ `${expWgsl}
fn preciseTanh(x: f32) -> f32 {
  let a = abs(x);
  let z = a * a;
  let near = a + a * z * ((-0.333332819422 + z * 0.133314422036)
    + z * z * ((-0.0537397155531 + z * 0.0206390887954) - z * z * 0.00570498872745));
  let e = expOfMinus(2.0 * a);
  let far = 1.0 - 2.0 * e / (1.0 + e);
  let y = select(far, near, a < 0.625);
  return select(y, -y, x < 0.0);
}
`

/** σ(x) with e^−|x|, which can't overflow. */
export const sigmoidWgsl = /* wgsl */ `${expWgsl}
fn preciseSigmoid(x: f32) -> f32 {
  let e = expOfMinus(abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}
`

/**
 * log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|), the logarithm as 2 artanh(s) with s = e/(2 + e) ≤ 1/3, by a
 * polynomial that is within 1.6e-8 there.
 */
export const softplusWgsl = /* wgsl */ `${sigmoidWgsl}
fn preciseSoftplus(x: f32) -> f32 {
  let e = expOfMinus(abs(x));
  let s = e / (2.0 + e);
  let z = s * s;
  let rest = s * (2.0 + z * ((0.66666640336 + z * 0.40007560644)
    + z * z * (0.28236619806 + z * 0.26851498022)));
  return select(x, 0.0, x < 0.0) + rest;
}
`

/**
 * erf(x) = x · P(x²)/Q(x²), within 1.9e-8 for |x| < 3.9 and 1 beyond. Interpolated at Chebyshev nodes of x²
 * up to 15.4, so that small x keep their relative accuracy.
 */
export const erfWgsl = /* wgsl */ `
fn preciseErf(x: f32) -> f32 {
  let w = x * x;
  let v = w * w;
  let p = ((1.1283791884 + w * 0.18370010281) + v * (0.054424528136 + w * 0.0038278118496))
    + v * v * ((0.00039174367081 + w * 5.0442383139e-6) - v * 1.4949606777e-8);
  let q = ((1.0 + w * 0.49613369409) + v * (0.11360870933 + w * 0.015461353344))
    + v * v * (0.0013194019071 + w * 6.6512097258e-5);
  let y = x * (p / q);
  return select(y, select(1.0, -1.0, x < 0.0), abs(x) > 3.9 || abs(y) > 1.0);
}
`

/**
 * The normal distribution: `halfErfc(a)` = erfc(a)/2 for 0 ≤ a ≤ 9.38, as e^−a² times a quotient of
 * polynomials (within 7.5e-9 of e^a² erfc(a), interpolated), so that the tail keeps its relative accuracy.
 */
export const normalWgsl = /* wgsl */ `${expNearWgsl}
fn halfErfc(a: f32, density: f32) -> f32 {
  let c = a * a;
  let p = (0.5 + a * 0.61513803375) + c * ((0.36139431621 + a * 0.112449523285)
    + c * 0.0159224254035);
  let q = (1.0 + a * 2.3586555719) + c * ((2.3842403073 + a * 1.308865838)
    + c * (0.39865213516 + a * 0.056442750613));
  return density * (p / q);
}
`

/** Whether x is NaN, by its bits: compilers may take `x != x` for false. */
export const isNanWgsl = /* wgsl */ `
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
`

/**
 * x^exponent. Whole exponents multiply (by squaring), so that negative x have a power; others take
 * exp(exponent · log x), NaN for negative x, whose relative error grows with |exponent · log x|.
 */
export const powerWgsl = /* wgsl */ `${expWgsl}${logWgsl}
fn power(x: f32, exponent: f32) -> f32 {
  let size = abs(exponent);
  if (size != floor(size) || size > 1024.0) {
    if (x == 0.0) { return select(1.0 / x, 0.0, exponent > 0.0); }
    return preciseExp(exponent * preciseLog(x));
  }
  var result = 1.0;
  var square = x;
  for (var left = u32(size); left > 0u; left >>= 1u) {
    if ((left & 1u) == 1u) { result *= square; }
    square *= square;
  }
  return select(result, 1.0 / result, exponent < 0.0);
}
`
