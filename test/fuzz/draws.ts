import { randomBits, randomUniform } from '../../src/kernels/random.ts'

/** Draws for one case: a function of seed and case. */
export class Draws {
  #count = 0
  readonly #seed: number
  readonly #stream: number

  constructor(seed: number, stream: number) {
    this.#seed = seed
    this.#stream = stream
  }

  /** A whole number below `bound`. */
  below(bound: number): number {
    return Math.floor(randomUniform(this.#seed, this.#stream, this.#count++) * bound)
  }

  bits(): number {
    return randomBits(this.#seed, this.#stream, this.#count++)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }
}
