import { expect } from 'vitest'

/** Asserts that two byte arrays are equal; on large ones much faster than `toEqual`. */
export function expectSameBytes(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(actual.length).toBe(expected.length)
  let differing = 0
  let first = -1
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] === expected[i]) continue
    if (differing++ === 0) first = i
  }
  const values =
    first < 0 ? '' : `, first at ${first}: got ${actual[first]}, not ${expected[first]}`
  expect(differing, `${differing} of ${expected.length} bytes differ${values}`).toBe(0)
}
