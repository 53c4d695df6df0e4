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

/** The 32-bit word `index` of the stream `(seed, stream)`. */
export function randomBits(seed: number, stream: number, index: number): number {
  const block = philox([Math.floor(index / 4) >>> 0, 0, 0, 0], [seed >>> 0, stream >>> 0])
  return block[(index % 4) as 0 | 1 | 2 | 3]
}

/** A float in [0, 1), a multiple of 2^-24: word `index` of the stream `(seed, stream)`. */
export function randomUniform(seed: number, stream: number, index: number): number {
  return (randomBits(seed, stream, index) >>> 8) * 2 ** -24
}
