import type { Plan, PlanValues } from '../runtime/plan.ts'
import type { Tensor } from '../runtime/tensor.ts'

/**
 * Replays whose result is not read yet, at most: the next input is prepared and written while the GPU
 * works on the last. More gain nothing, as the GPU has one queue.
 */
export const IN_FLIGHT = 2

type Inputs = Readonly<Record<string, Tensor>>

/** Recorded plans of one model by a key, such as their batch, and the order in which they run. */
export class ReplayQueue<I extends Inputs> {
  readonly #plans = new Map<string, Promise<Plan<I, Tensor<'f32'>>>>()
  /** Replays are enqueued one after the other: a plan has one set of buffers. */
  #turn: Promise<unknown> = Promise.resolve()
  /** Reads under way, oldest first; these never reject. */
  readonly #reads: Promise<unknown>[] = []

  /**
   * One replay, in one submit, and its output.
   *
   * @param key two calls of the same key share a plan
   * @param record makes the plan at the key's first call; the queue disposes its inputs
   * @param values the inputs, asked for when it is this replay's turn, while others run
   */
  run(
    key: string,
    record: () => Promise<Plan<I, Tensor<'f32'>>>,
    values: () => PlanValues<I>,
  ): Promise<Float32Array<ArrayBuffer>> {
    const enqueued = this.#turn.then(() => this.#enqueue(key, record, values))
    this.#turn = enqueued.catch(() => {})
    return enqueued.then(({ output }) => output)
  }

  /** The output comes in an object, since an async function waits for a promise that it returns. */
  async #enqueue(
    key: string,
    record: () => Promise<Plan<I, Tensor<'f32'>>>,
    values: () => PlanValues<I>,
  ): Promise<{ output: Promise<Float32Array<ArrayBuffer>> }> {
    const given = values()
    let recorded = this.#plans.get(key)
    if (!recorded) {
      recorded = record()
      this.#plans.set(key, recorded)
      // A plan that a lost device kept from being recorded is recorded at the next call.
      recorded.catch(() => this.#plans.delete(key))
    }
    const plan = await recorded
    while (this.#reads.length >= IN_FLIGHT) await this.#reads.shift()
    // What is written now lands behind the copy that the last read enqueued.
    plan.run(given)
    const output = plan.outputs.read()
    this.#reads.push(output.catch(() => {}))
    return { output }
  }

  /** Frees the plans and their inputs, once what was enqueued has been read. */
  async dispose(): Promise<void> {
    await this.#turn
    await Promise.all(this.#reads)
    for (const recorded of this.#plans.values()) {
      const plan = await recorded
      plan.dispose()
      Object.values(plan.inputs).forEach((tensor) => tensor.dispose())
    }
    this.#plans.clear()
  }
}

/** The batch that a plan is recorded for: the next power of two, so that few serve every count. */
export const paddedBatch = (count: number): number => 2 ** Math.ceil(Math.log2(count))
