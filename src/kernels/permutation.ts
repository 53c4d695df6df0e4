import { philox } from './random.ts'

/**
 * A random permutation of 0 … n − 1 as a function: where an index goes follows from the key alone,
 * so an epoch's order needs no memory and no sort. A Feistel network (a bijection on 2h bits whatever
 * its round function is) walks until it lands below n; at most four times n values are walked over.
 */

const ROUNDS = 6

/** Fourth counter word of keys, so that none shares a block with other draws of its stream. */
const KEY = 4

/** The key of the permutation `(seed, stream)` at a step of a training run, for {@link permute}. */
export function permutationKey(seed: number, stream: number, step = 0): [number, number] {
  const [k0, k1] = philox([0, 0, step >>> 0, KEY], [seed >>> 0, stream >>> 0])
  return [k0, k1]
}

/** WGSL twin of {@link permutationKey}; needs `philoxWgsl`. */
export const permutationKeyWgsl = /* wgsl */ `
fn permutationKey(key: vec2u, step: u32) -> vec2u {
  return philox(vec4u(0u, 0u, step, ${KEY}u), key).xy;
}
`

/** WGSL twin of {@link permute}: `permute(index, n, key: vec2u) -> u32`. */
export const permuteWgsl = /* wgsl */ `
fn feistelRound(value: u32, key: u32) -> u32 {
  var x = (value * 0x9e3779b1u) ^ key;
  x = (x ^ (x >> 16u)) * 0x85ebca6bu;
  x = (x ^ (x >> 13u)) * 0xc2b2ae35u;
  return x ^ (x >> 16u);
}
fn permute(index: u32, n: u32, key: vec2u) -> u32 {
  let bits = (33u - countLeadingZeros(max(n, 2u) - 1u)) / 2u;
  let mask = (1u << bits) - 1u;
  var value = index;
  loop {
    var left = value >> bits;
    var right = value & mask;
    for (var round = 0u; round < ${ROUNDS}u; round++) {
      let next = left ^ (feistelRound(right, key[round % 2u] + round * 0x9e3779b9u) & mask);
      left = right;
      right = next;
    }
    value = (left << bits) | right;
    if (value < n) { return value; }
  }
}
`

function feistelRound(value: number, key: number): number {
  let x = Math.imul(value, 0x9e3779b1) ^ key
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b)
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}

/** Where `index` < `n` ≤ 2³¹ goes under the permutation of `key`. */
export function permute(index: number, n: number, key: readonly [number, number]): number {
  const bits = (33 - Math.clz32(Math.max(n, 2) - 1)) >>> 1
  const mask = 2 ** bits - 1
  let value = index
  do {
    let left = value >>> bits
    let right = value & mask
    for (let round = 0; round < ROUNDS; round++) {
      const roundKey = (key[(round % 2) as 0 | 1] + Math.imul(round, 0x9e3779b9)) >>> 0
      const next = (left ^ (feistelRound(right, roundKey) & mask)) >>> 0
      left = right
      right = next
    }
    value = ((left << bits) | right) >>> 0
  } while (value >= n)
  return value
}
