import { concat } from '../support/archives.ts'
import type { Draws } from './draws.ts'

/** Damage as files suffer it, and as attackers do it, drawn from a case's numbers. */
type Mutation = (bytes: Uint8Array, draws: Draws, other: Uint8Array) => Uint8Array

/** Values that length fields break at. */
const EDGES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0xffffffff]

const place = (bytes: Uint8Array, draws: Draws): number => draws.below(bytes.length + 1)

function range(bytes: Uint8Array, draws: Draws, most = bytes.length): [number, number] {
  const begin = place(bytes, draws)
  return [begin, Math.min(bytes.length, begin + draws.below(most + 1))]
}

const mutations: Readonly<Record<string, Mutation>> = {
  flip(bytes, draws) {
    const copy = bytes.slice()
    for (let n = 1 + draws.below(4); n > 0 && copy.length > 0; n--) {
      copy[draws.below(copy.length)]! ^= 1 << draws.below(8)
    }
    return copy
  },
  overwrite(bytes, draws) {
    const copy = bytes.slice()
    const [begin, end] = range(bytes, draws, 16)
    for (let at = begin; at < end; at++) copy[at] = draws.below(256)
    return copy
  },
  truncate: (bytes, draws) => bytes.slice(0, place(bytes, draws)),
  behead: (bytes, draws) => bytes.slice(place(bytes, draws)),
  remove(bytes, draws) {
    const [begin, end] = range(bytes, draws)
    return concat(bytes.subarray(0, begin), bytes.subarray(end))
  },
  duplicate(bytes, draws) {
    const [begin, end] = range(bytes, draws)
    const at = place(bytes, draws)
    return concat(bytes.subarray(0, at), bytes.subarray(begin, end), bytes.subarray(at))
  },
  /** Blocks of the size that tar and many others are made of. */
  repeatBlock(bytes, draws) {
    const block = draws.pick([30, 46, 512, 3073])
    const begin = draws.below(Math.ceil(bytes.length / block) + 1) * block
    const copy = bytes.subarray(begin, begin + block)
    return concat(bytes.subarray(0, begin), copy, copy, bytes.subarray(begin + block))
  },
  splice(bytes, draws, other) {
    const [begin, end] = range(other, draws)
    const [from, to] = range(bytes, draws)
    return concat(bytes.subarray(0, from), other.subarray(begin, end), bytes.subarray(to))
  },
  /** A number of 2, 4 or 8 bytes, little or big end first, becomes one that programs trip over. */
  length(bytes, draws) {
    const copy = bytes.slice()
    const width = draws.pick([2, 4, 8])
    if (copy.length < width) return copy
    const at = draws.below(copy.length - width + 1)
    const view = new DataView(copy.buffer)
    const value = draws.pick(EDGES) + draws.pick([-1, 0, 1, bytes.length])
    const little = draws.below(4) > 0
    if (width === 2) view.setUint16(at, value, little)
    else if (width === 4) view.setUint32(at, value, little)
    else view.setBigUint64(at, BigInt(Math.max(0, value)) << BigInt(draws.pick([0, 0, 32])), little)
    return copy
  },
  /** A digit becomes another: sizes of tar headers, of JSON, of text. */
  digit(bytes, draws) {
    const copy = bytes.slice()
    const digits = [...copy.keys()].filter((i) => copy[i]! >= 0x30 && copy[i]! <= 0x39)
    if (digits.length === 0) return copy
    for (let n = 1 + draws.below(3); n > 0; n--) copy[draws.pick(digits)] = 0x30 + draws.below(10)
    return copy
  },
  zero(bytes, draws) {
    const copy = bytes.slice()
    const [begin, end] = range(bytes, draws)
    return copy.fill(0, begin, end)
  },
  append: (bytes, draws) =>
    concat(
      bytes,
      Uint8Array.from({ length: draws.below(2000) }, () => draws.below(256)),
    ),
}

export const mutationNames = Object.keys(mutations)

/** Up to three mutations of `bytes`; `other` is what parts may come from. */
export function mutate(bytes: Uint8Array, draws: Draws, other: Uint8Array): Uint8Array {
  let mutated = bytes
  for (let n = draws.pick([0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3]); n > 0; n--) {
    mutated = mutations[draws.pick(mutationNames)]!(mutated, draws, other)
  }
  return mutated
}
