import { KeeplightError } from './errors.ts'

/** Sizes of a tensor's dimensions, outermost first; row-major and contiguous. */
export type Shape = readonly number[]

export const sizeOf = (shape: Shape): number => shape.reduce((product, n) => product * n, 1)

export const formatShape = (shape: Shape): string => `[${shape.join(', ')}]`

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i])

/** Throws `op: name has shape …, expected …` when they differ. */
export function expectShape(op: string, name: string, actual: Shape, expected: Shape): void {
  if (sameShape(actual, expected)) return
  throw new KeeplightError(
    'validation',
    `${op}: ${name} has shape ${formatShape(actual)}, expected ${formatShape(expected)}`,
  )
}

/** Throws when `condition` is false; the message starts with the op's name. */
export function expect(condition: boolean, op: string, message: () => string): asserts condition {
  if (!condition) throw new KeeplightError('validation', `${op}: ${message()}`)
}

/** Checks that every dimension is a positive integer and the size is exact in a number. */
export function checkShape(op: string, shape: Shape): void {
  const valid = shape.every((n) => Number.isSafeInteger(n) && n > 0)
  expect(valid && Number.isSafeInteger(sizeOf(shape)), op, () => {
    return `shape ${formatShape(shape)} is not a list of positive integers`
  })
}
