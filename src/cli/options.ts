import { InvalidArgumentError } from 'commander'

/** A parser for commander: a whole number from `low` to `high`. */
export function integer(low: number, high = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^[+-]?\d+$/.test(text.trim()) || value < low || value > high) {
      throw new InvalidArgumentError(`Expected a whole number ${describeRange(low, high)}.`)
    }
    return value
  }
}

/** A parser for commander: a finite number from `low` to `high`. */
export function number(low: number, high = Number.MAX_VALUE): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value) || value < low || value > high) {
      throw new InvalidArgumentError(`Expected a number ${describeRange(low, high)}.`)
    }
    return value
  }
}

function describeRange(low: number, high: number): string {
  return high < Number.MAX_SAFE_INTEGER ? `from ${low} to ${high}` : `of at least ${low}`
}
