import type { KeeplightError } from './errors.ts'
import { typedError } from './gpuErrors.ts'
import { OutOfMemoryError } from './outOfMemory.ts'

/**
 * What WebGPU tells later about work that was enqueued: the answers of its error scopes are collected,
 * and the first error is kept for the next sync to throw.
 */
export class PendingErrors {
  readonly #checks = new Set<Promise<void>>()
  #first: KeeplightError | undefined

  /** Keeps an error unless there is one already; out of memory explains those that came before. */
  note(error: KeeplightError): void {
    const explains = error instanceof OutOfMemoryError && !this.outOfMemory
    if (explains) this.#first = error
    else this.#first ??= error
  }

  get outOfMemory(): boolean {
    return this.#first instanceof OutOfMemoryError
  }

  /** Waits for an error scope; `what` names what its message is about. */
  check(error: Promise<GPUError | null>, what: (message: string) => string): void {
    this.follow(
      error.then((found) => {
        if (found) this.note(typedError(found, undefined, what(found.message)))
      }),
    )
  }

  /** Keeps a check until it is done; it fails only when the device is lost, which is told by itself. */
  follow(work: Promise<void>): void {
    const check = work.catch(() => {})
    this.#checks.add(check)
    void check.then(() => this.#checks.delete(check))
  }

  /** Resolves once everything so far is answered. */
  async answered(): Promise<void> {
    await Promise.all(this.#checks)
  }

  /** Takes back an error that the caller deals with, so that no sync throws it. */
  forgive(error: KeeplightError): void {
    if (this.#first === error) this.#first = undefined
  }

  /** The first error, which is told once. */
  take(): KeeplightError | undefined {
    const error = this.#first
    this.#first = undefined
    return error
  }

  /** Forgets what a lost device had to say. */
  clear(): void {
    this.#checks.clear()
    this.#first = undefined
  }
}
