/** `1 image`, `2,000 images`. */
export function count(value: number, noun: string, plural = `${noun}s`): string {
  return `${value.toLocaleString('en')} ${value === 1 ? noun : plural}`
}

/** A share as a percentage with one decimal. */
export function percent(value: number): string {
  // 99.96 % must not read as certainty.
  const shown = value < 1 ? Math.min(99.9, value * 100) : 100
  return `${shown.toFixed(1)}\u00a0%`
}
