/**
 * Functions that WGSL lacks or bounds too loosely, as WGSL text. Its exp may be 3 + 2|x| ULP off, its
 * log 2⁻²¹ near 1, its tanh 1e-5 and NaN past ±88; these are within a few ULP over the whole range,
 * and NaN in gives NaN out: `select` by a comparison keeps it where min, max and clamp may not.
 */

/**
 * exp by x = n·ln 2 + r (Cody and Waite's two-part ln 2) and the polynomial of Cephes' `expf`; 2ⁿ is
 * two factors, so that results below the normal range still come out.
 */
export const expWgsl = /* wgsl */ `
fn preciseExp(x: f32) -> f32 {
  let below = select(x, 89.0, x > 89.0);
  let z = select(below, -105.0, below < -105.0);
  let n = round(z * 1.4426950408889634);
  let r = (z - n * 0.693359375) + n * 2.12194440e-4;
  let p = 0.50000001201 + r * (0.16666665459 + r * (0.041665795894 + r * (0.0083334519073 + r *
    (0.0013981999507 + r * 0.00019875691500))));
  let y = 1.0 + (r + r * r * p);
  let power = i32(n);
  let half = power >> 1u;
  let first = bitcast<f32>(u32(half + 127) << 23u);
  let second = bitcast<f32>(u32(power - half + 127) << 23u);
  return y * first * second;
}
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

/** tanh: Cephes' odd polynomial below 0.625, 1 − 2/(e²ˣ + 1) above, where nothing cancels. */
export const tanhWgsl = /* wgsl */ `${expWgsl}
fn preciseTanh(x: f32) -> f32 {
  let a = abs(x);
  let z = x * x;
  let near = x + x * z * (-0.333332819422 + z * (0.133314422036 + z * (-0.0537397155531 + z *
    (0.0206390887954 + z * -0.00570498872745))));
  let far = 1.0 - 2.0 / (preciseExp(2.0 * select(a, 15.0, a > 15.0)) + 1.0);
  return select(select(far, -far, x < 0.0), near, a < 0.625);
}
`

/** σ(x) with e^−|x|, which can't overflow. */
export const sigmoidWgsl = /* wgsl */ `${expWgsl}
fn preciseSigmoid(x: f32) -> f32 {
  let e = preciseExp(-abs(x));
  return select(1.0, e, x < 0.0) / (1.0 + e);
}
`

/** log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|), the logarithm as 2 artanh(e/(2 + e)). */
export const softplusWgsl = /* wgsl */ `${sigmoidWgsl}
fn preciseSoftplus(x: f32) -> f32 {
  let e = preciseExp(-abs(x));
  let s = e / (2.0 + e);
  let z = s * s;
  let rest = 2.0 * s * (1.0 + z * (0.33333333333 + z * (0.2 + z * (0.14285714286 + z *
    (0.11111111111 + z * (0.090909090909 + z * (0.076923076923 + z * 0.066666666667)))))));
  return select(x, 0.0, x < 0.0) + rest;
}
`

/**
 * erf by Abramowitz and Stegun 7.1.26 is good to 1.5e-7 absolute, which costs relative accuracy
 * where it crosses zero; so small |x| takes the Maclaurin series, and the tail takes erfc.
 */
export const erfWgsl = /* wgsl */ `
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
fn preciseErf(x: f32) -> f32 {
  let a = abs(x);
  let tail = 1.0 - erfcPositive(select(a, 12.0, a > 12.0));
  return select(select(tail, -tail, x < 0.0), erfSeries(x), a < 1.0);
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
