import type { Device } from './device.ts'

/**
 * A decision between kernels that compute the same thing to the same tolerance, such as the variants
 * of matmul. The rule decides by shape and adapter; what was tuned on this very adapter goes before it.
 *
 * @typeParam P what the decision depends on: sizes, dtypes, layout
 */
export interface KernelChoice<P> {
  /** Name of the family, such as `matmul`. */
  readonly family: string
  /** Problems with the same key share what was tuned: sizes in coarse steps, dtypes, layout. */
  key(problem: P): string
  /** Names of all variants that this adapter can run on this problem, each correct. */
  candidates(problem: P, device: Device): readonly string[]
  /** The candidate that suits by rule. */
  rule(problem: P, device: Device): string
}

/** A problem that a kernel was chosen for. */
export interface NotedProblem {
  readonly family: string
  readonly key: string
  readonly problem: unknown
}

/**
 * Variants that were tuned or forced on one device, by `family/key`. A name that is no candidate for
 * a problem (from an old cache, say) is passed over, so that an entry can never choose a kernel that
 * the rule's author did not hold to be correct there.
 */
export class Choices {
  readonly #tuned = new Map<string, string>()
  #noted: Map<string, NotedProblem> | undefined

  get size(): number {
    return this.#tuned.size
  }

  set(family: string, key: string, variant: string): void {
    this.#tuned.set(`${family}/${key}`, variant)
  }

  delete(family: string, key: string): void {
    this.#tuned.delete(`${family}/${key}`)
  }

  clear(): void {
    this.#tuned.clear()
  }

  get(family: string, key: string): string | undefined {
    return this.#tuned.get(`${family}/${key}`)
  }

  /** Variants by `family/key`. */
  entries(): ReadonlyMap<string, string> {
    return this.#tuned
  }

  /**
   * Runs `body`, such as the recording of a model's plan, and returns the problems that kernels were
   * chosen for meanwhile: the first of each key.
   */
  async noting(body: () => unknown): Promise<NotedProblem[]> {
    const before = this.#noted
    const noted = (this.#noted = new Map<string, NotedProblem>())
    try {
      await body()
    } finally {
      this.#noted = before
    }
    return [...noted.values()]
  }

  /** The variant for a problem. */
  choose<P>(choice: KernelChoice<P>, problem: P, device: Device): string {
    if (this.#tuned.size > 0 || this.#noted) {
      const { family } = choice
      const key = choice.key(problem)
      const name = `${family}/${key}`
      if (this.#noted && !this.#noted.has(name)) this.#noted.set(name, { family, key, problem })
      const tuned = this.#tuned.get(name)
      if (tuned !== undefined && choice.candidates(problem, device).includes(tuned)) return tuned
    }
    return choice.rule(problem, device)
  }
}
