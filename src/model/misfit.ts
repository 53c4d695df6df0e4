/** Names that a message lists before it counts the rest. */
const LISTED = 20

/** `3 tensors in two files: a, b, c`, up to 20 named and then a count; undefined for none. */
export function someOf(what: string, names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined
  const rest = names.length - LISTED
  const more = rest > 0 ? ` and ${rest} more` : ''
  return `${names.length} ${what}: ${names.slice(0, LISTED).join(', ')}${more}`
}
