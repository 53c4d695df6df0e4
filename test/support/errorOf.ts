import { KeeplightError } from '../../src/runtime/errors.ts'

/** The error that `run` throws. */
export function errorOf(run: () => unknown): KeeplightError {
  try {
    run()
  } catch (error) {
    if (error instanceof KeeplightError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
