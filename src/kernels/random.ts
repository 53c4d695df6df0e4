/**
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A draw is a pure function of (seed, stream, index), so any element can be
 * made anywhere, in any order, and the WGSL and TypeScript versions agree bit for bit.
 */

const M0 = 0xd2511f53
const M1 = 0xcd9e8d57
const W0 = 0x9e3779b9
const W1 = 0xbb67ae85

/** WGSL twin of {@link philox}: `philox(counter: vec4u, key: vec2u) -> vec4u`, and {@link uniformFloat}. */
export const philoxWgsl = /* wgsl */ `
fn mulHigh(a: u32, b: u32) -> u32 {
  let a0 = a & 0xffffu; let a1 = a >> 16u;
  let b0 = b & 0xffffu; let b1 = b >> 16u;
  let middle = a1 * b0 + ((a0 * b0) >> 16u);
  let low = (middle & 0xffffu) + a0 * b1;
  return a1 * b1 + (middle >> 16u) + (low >> 16u);
}
fn philox(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var round = 0u; round < 10u; round++) {
    let high0 = mulHigh(0xd2511f53u, c.x);
    let high1 = mulHigh(0xcd9e8d57u, c.z);
    c = vec4u(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}
// [0, 1) in steps of 2^-24: every value is exact in f32.
fn uniformFloat(bits: u32) -> f32 { return f32(bits >> 8u) * 0x1p-24; }
`

/** Giles' coefficients, highest power first. */
const CENTRAL = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503,
  -0.00417768164, 0.246640727, 1.50140941,
]
const TAIL = [
  -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
  0.00943887047, 1.00167406, 2.83297682,
]

/**
 * Standard normal from 23 random bits (one more would round to exactly 1, whose normal is infinite) by
 * the inverse error function, as Giles' single-precision polynomials give it ("Approximating the
 * erfinv function", GPU Computing Gems 2, 2010). Twin: {@link normalOf}.
 */
export const normalWgsl = /* wgsl */ `
fn normalFloat(bits: u32) -> f32 {
  let x = (f32(bits >> 9u) + 0.5) * 0x1p-22 - 1.0;
  var w = -log((1.0 - x) * (1.0 + x));
  var p = 0.0;
  if (w < 5.0) {
    w -= 2.5;
    ${CENTRAL.map((c) => `p = ${c} + p * w;`).join('\n    ')}
  } else {
    w = sqrt(w) - 3.0;
    ${TAIL.map((c) => `p = ${c} + p * w;`).join('\n    ')}
  }
  return ${Math.SQRT2} * p * x;
}
`

function mulHigh(a: number, b: number): number {
  const a0 = a & 0xffff
  const a1 = a >>> 16
  const b0 = b & 0xffff
  const b1 = b >>> 16
  const middle = Math.imul(a1, b0) + ((Math.imul(a0, b0) >>> 16) | 0)
  const low = (middle & 0xffff) + Math.imul(a0, b1)
  return (Math.imul(a1, b1) + (middle >>> 16) + (low >>> 16)) >>> 0
}

/**
 * One Philox4x32-10 block: four independent 32-bit words from a 128-bit counter and a 64-bit key.
 *
 * @param counter four u32
 * @param key two u32
 */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0)
    const high1 = mulHigh(M1, c2)
    const low0 = Math.imul(M0, c0) >>> 0
    const low1 = Math.imul(M1, c2) >>> 0
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + W0) >>> 0
    k1 = (k1 + W1) >>> 0
  }
  return [c0, c1, c2, c3]
}

/** The 32-bit word `index` (below 2³⁴) of the stream `(seed, stream)` at a step of a training run. */
export function randomBits(seed: number, stream: number, index: number, step = 0): number {
  const key = [seed >>> 0, stream >>> 0] as const
  const block = philox([Math.floor(index / 4) >>> 0, 0, step >>> 0, 0], key)
  return block[(index % 4) as 0 | 1 | 2 | 3]
}

/** A float in [0, 1), a multiple of 2^-24: from word `index` of the stream `(seed, stream)`. */
export function randomUniform(seed: number, stream: number, index: number, step = 0): number {
  return (randomBits(seed, stream, index, step) >>> 8) * 2 ** -24
}

/** A whole number below `bound` ≤ 2³²: from word `index` of the stream `(seed, stream)`. */
export function randomInteger(
  bound: number,
  seed: number,
  stream: number,
  index: number,
  step = 0,
): number {
  return Number((BigInt(randomBits(seed, stream, index, step)) * BigInt(bound)) >> 32n)
}

/** A standard normal: from word `index` of the stream `(seed, stream)`. At most 5.3 in size. */
export function randomNormal(seed: number, stream: number, index: number, step = 0): number {
  return normalOf(randomBits(seed, stream, index, step))
}

/** Twin of `normalFloat` in {@link normalWgsl}, in f64. */
export function normalOf(bits: number): number {
  const x = ((bits >>> 9) + 0.5) * 2 ** -22 - 1
  const w = -Math.log((1 - x) * (1 + x))
  const central = w < 5
  const p = (central ? CENTRAL : TAIL).reduce(
    (sum, c) => c + sum * (central ? w - 2.5 : Math.sqrt(w) - 3),
    0,
  )
  return Math.SQRT2 * p * x
}
