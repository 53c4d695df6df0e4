import { KeeplightError } from '../../src/runtime/errors.ts'

/** The error that a promise rejects with. */
export async function rejectionOf(work: Promise<unknown>): Promise<KeeplightError> {
  try {
    await work
  } catch (error) {
    if (error instanceof KeeplightError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
