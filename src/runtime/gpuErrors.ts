import { describe, type Command } from './command.ts'
import { KeeplightError, type ErrorCode } from './errors.ts'

/** An error of the GPU as one of ours, with what it was about. */
export function typedError(
  error: GPUError,
  last: Command | undefined,
  what?: string,
): KeeplightError {
  const kind = error.constructor.name
  const code: ErrorCode =
    kind === 'GPUOutOfMemoryError'
      ? 'out-of-memory'
      : kind === 'GPUInternalError'
        ? 'internal'
        : 'validation'
  const where = what ?? (last ? describe(last) : 'GPU')
  return new KeeplightError(code, `${where}: ${error.message.trim()}`, { cause: error })
}

/** The op whose label the driver's message quotes; labels of bind groups and pipelines name ops. */
export function culprit(batch: readonly Command[], message: string): string {
  const described = batch.map(describe)
  const quoted = described.find((text) => message.includes(text))
  const index = quoted
    ? described.indexOf(quoted)
    : batch.findIndex(({ kernel }) => message.includes(`"${kernel.label}"`))
  return described[index] ?? (batch.length > 0 ? `one of ${batch.length} ops` : 'copy')
}
