/** `1 picture`, `2,000 pictures`. */
export function count(value: number, noun: string): string {
  return `${value.toLocaleString('en')} ${noun}${value === 1 ? '' : 's'}`
}

/** A share as a percentage with one decimal. */
export function percent(value: number): string {
  // 99.96 % must not read as certainty.
  const shown = value < 1 ? Math.min(99.9, value * 100) : 100
  return `${shown.toFixed(1)}\u00a0%`
}

/** `45 s`, `3 min 12 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
}
