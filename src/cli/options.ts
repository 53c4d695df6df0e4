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

/** A parser for commander: a whole number from `low` to `high`, or `auto`. */
export function countOrAuto(low: number, high: number): (text: string) => number | 'auto' {
  return (text) => {
    if (text.trim() === 'auto') return 'auto'
    try {
      return integer(low, high)(text)
    } catch {
      throw new InvalidArgumentError(`Expected auto or a whole number ${describeRange(low, high)}.`)
    }
  }
}

/** A parser for commander: `2..30`, `2..30:4` (in steps of 4), or numbers between commas, ascending. */
export function numbersFrom(low: number): (text: string) => number[] {
  return (text) => {
    const span = /^\s*(\d+)\s*\.\.\s*(\d+)\s*(?::\s*(\d+)\s*)?$/.exec(text)
    const numbers = span
      ? countUp(Number(span[1]), Number(span[2]), Number(span[3] ?? 1))
      : text.split(',').map((part) => integer(low)(part))
    const rising = numbers.every((n, i) => n >= low && (i === 0 || n > numbers[i - 1]!))
    if (numbers.length === 0 || !rising) {
      throw new InvalidArgumentError(
        `Expected rising whole numbers of at least ${low}: 2..30, 2..60:4 or 2,5,10.`,
      )
    }
    return numbers
  }
}

function countUp(first: number, last: number, step: number): number[] {
  const count = step > 0 ? Math.floor((last - first) / step) + 1 : 0
  return Array.from({ length: Math.max(0, Math.min(count, 10_000)) }, (_, i) => first + i * step)
}

function describeRange(low: number, high: number): string {
  return high < Number.MAX_SAFE_INTEGER ? `from ${low} to ${high}` : `of at least ${low}`
}
