/** Helpers for WGSL text that a template unrolls. */

/** 0 … count − 1 */
export const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

export const lines = (items: readonly string[]): string => items.join('\n')

/** The item that the run-time `index` names: registers have no other way of being indexed. */
export const pick = (items: readonly string[], index: string): string =>
  items.reduceRight((rest, item, i) => `select(${rest}, ${item}, ${index} == ${i}u)`)
