/** A file with this header text (or bytes) and this many zero bytes of data. */
export function file(header: string | Uint8Array, dataBytes = 0, announced?: number): Uint8Array {
  const text = typeof header === 'string' ? new TextEncoder().encode(header) : header
  const bytes = new Uint8Array(8 + text.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(announced ?? text.length), true)
  bytes.set(text, 8)
  return bytes
}

/** The header entry of one tensor. */
export function tensor(dtype: string, shape: string, offsets: string): string {
  return `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`
}
