/** The fields of a tar header block (POSIX.1-2017, pax, "ustar Interchange Format"). */

const decoder = new TextDecoder()

/** Text up to the first NUL. */
export function textAt(bytes: Uint8Array, begin: number, length: number): string {
  const field = bytes.subarray(begin, begin + length)
  const end = field.indexOf(0)
  return decoder.decode(end < 0 ? field : field.subarray(0, end))
}

/** An octal number, or GNU's base 256 for large ones; undefined when it is neither, or too large. */
export function numberAt(bytes: Uint8Array, begin: number, length: number): number | undefined {
  if (bytes[begin]! >= 0x80) {
    if (bytes[begin] !== 0x80) return undefined // negative, or beyond any size
    let value = 0
    for (let i = begin + 1; i < begin + length; i++) value = value * 256 + bytes[i]!
    return Number.isSafeInteger(value) ? value : undefined
  }
  const digits = textAt(bytes, begin, length).trim()
  return /^[0-7]*$/.test(digits) ? Number(`0o${digits || '0'}`) : undefined
}

/** Whether the bytes add up to the sum in the header, which counts itself as spaces. */
export function checksumHolds(block: Uint8Array): boolean {
  const expected = numberAt(block, 148, 8)
  let sum = 8 * 0x20
  let signed = sum // as some old programs added
  for (let i = 0; i < 512; i++) {
    if (i >= 148 && i < 156) continue
    sum += block[i]!
    signed += (block[i]! << 24) >> 24
  }
  return expected === sum || expected === signed
}

/** The records `length key=value\n` of a pax header; undefined when they don't follow this form. */
export function parsePax(bytes: Uint8Array): [string, string][] | undefined {
  const records: [string, string][] = []
  for (let at = 0; at < bytes.length;) {
    if (bytes[at] === 0) break // padding that some programs count
    const space = bytes.indexOf(0x20, at)
    const digits = space < 0 || space - at > 8 ? '' : decoder.decode(bytes.subarray(at, space))
    const end = at + Number(digits)
    if (!/^\d+$/.test(digits) || end <= space + 1 || end > bytes.length) return undefined
    const equals = bytes.indexOf(0x3d, space)
    if (equals < 0 || equals >= end || bytes[end - 1] !== 0x0a) return undefined
    records.push([
      decoder.decode(bytes.subarray(space + 1, equals)),
      decoder.decode(bytes.subarray(equals + 1, end - 1)),
    ])
    at = end
  }
  return records
}
