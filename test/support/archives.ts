import { crc32 } from '../../src/data/crc32.ts'

/** Archives and data sets made in code, sound and hostile, for pages and Node. */

export type Content = Uint8Array | string

const encoder = new TextEncoder()
export const bytesOf = (content: Content): Uint8Array =>
  typeof content === 'string' ? encoder.encode(content) : content

export function concat(...parts: readonly Content[]): Uint8Array<ArrayBuffer> {
  const all = parts.map(bytesOf)
  const result = new Uint8Array(all.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of all) {
    result.set(part, at)
    at += part.length
  }
  return result
}

export interface TarItem {
  readonly name: string
  readonly content?: Content
  /** Type flag; default `0`, a regular file. */
  readonly kind?: string
  /** What the header claims; default the content's length. */
  readonly size?: number
  readonly link?: string
  /** The front of a long name, for ustar's field of it. */
  readonly prefix?: string
}

/** A header block and its content, padded. */
export function tarEntry(item: TarItem): Uint8Array<ArrayBuffer> {
  const content = bytesOf(item.content ?? '')
  const header = new Uint8Array(512)
  const put = (text: string, at: number): void => header.set(encoder.encode(text), at)
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0')
  const size = item.size ?? content.length
  header.set(encoder.encode(item.name).subarray(0, 100), 0)
  put(octal(0o644, 7), 100)
  put(octal(0, 7), 108)
  put(octal(0, 7), 116)
  if (size < 8 ** 11) put(octal(size, 11), 124)
  else {
    header[124] = 0x80
    for (let i = 0, rest = size; i < 8; i++, rest = Math.floor(rest / 256)) {
      header[135 - i] = rest % 256
    }
  }
  put(octal(1_700_000_000, 11), 136)
  put(item.kind ?? '0', 156)
  put(item.link ?? '', 157)
  put('ustar\0' + '00', 257)
  put(item.prefix ?? '', 345)
  return concat(sealed(header), content, new Uint8Array((512 - (content.length % 512)) % 512))
}

/** The header with the sum of its bytes in place. */
export function sealed(header: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  header.fill(0x20, 148, 156)
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0)
  header.set(encoder.encode(`${sum.toString(8).padStart(6, '0')}\0 `), 148)
  return header
}

/** Two blocks of zeros. */
export const tarEnd = new Uint8Array(1024)

export function makeTar(items: readonly TarItem[]): Uint8Array<ArrayBuffer> {
  return concat(...items.map(tarEntry), tarEnd)
}

/** The extended header of pax for the next entry. */
export function paxEntry(fields: Readonly<Record<string, string>>, kind = 'x'): Uint8Array {
  const lines = Object.entries(fields).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`
    let length = encoder.encode(rest).length + 1
    while (String(length).length + encoder.encode(rest).length !== length) length++
    return `${length}${rest}`
  })
  return tarEntry({ name: 'pax', kind, content: lines.join('') })
}

export interface ZipItem {
  readonly name: string
  readonly content?: Content
  /** Deflated content, where it isn't stored. */
  readonly deflated?: Uint8Array
  readonly flags?: number
  readonly method?: number
  /** Unix mode; default a regular file. */
  readonly mode?: number
  readonly size?: number
  readonly storedSize?: number
  readonly checksum?: number
  /** Where the entry's header is claimed to be. */
  readonly offset?: number
}

/** A zip archive; `claimed` is the number of entries that its end tells of. */
export function makeZip(items: readonly ZipItem[], claimed?: number): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = []
  const directory: Uint8Array[] = []
  let at = 0
  for (const item of items) {
    const name = encoder.encode(item.name)
    const content = bytesOf(item.content ?? '')
    const data = item.deflated ?? content
    const method = item.method ?? (item.deflated ? 8 : 0)
    const common = (view: DataView, from: number): void => {
      view.setUint16(from, 20, true)
      view.setUint16(from + 2, item.flags ?? 0x800, true)
      view.setUint16(from + 4, method, true)
      view.setUint32(from + 10, item.checksum ?? crc32(content), true)
      view.setUint32(from + 14, item.storedSize ?? data.length, true)
      view.setUint32(from + 18, item.size ?? content.length, true)
      view.setUint16(from + 22, name.length, true)
    }
    const local = new DataView(new ArrayBuffer(30))
    local.setUint32(0, 0x04034b50, true)
    common(local, 4)
    const central = new DataView(new ArrayBuffer(46))
    central.setUint32(0, 0x02014b50, true)
    central.setUint16(4, (3 << 8) | 20, true)
    common(central, 6)
    central.setUint32(38, ((item.mode ?? 0o100644) << 16) >>> 0, true)
    central.setUint32(42, item.offset ?? at, true)
    parts.push(new Uint8Array(local.buffer), name, data)
    directory.push(new Uint8Array(central.buffer), name)
    at += 30 + name.length + data.length
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0)
  const end = new DataView(new ArrayBuffer(22))
  end.setUint32(0, 0x06054b50, true)
  end.setUint16(8, claimed ?? items.length, true)
  end.setUint16(10, claimed ?? items.length, true)
  end.setUint32(12, size, true)
  end.setUint32(16, at, true)
  return concat(...parts, ...directory, new Uint8Array(end.buffer))
}

/** CIFAR records whose planes count up from a seed; `labels` go before each. */
export function cifarRecords(labels: readonly (readonly number[])[], seed = 0): Uint8Array {
  return concat(
    ...labels.map((bytes, record) =>
      concat(
        Uint8Array.from(bytes),
        Uint8Array.from({ length: 3072 }, (_, i) => (i * 7 + record * 13 + seed) & 255),
      ),
    ),
  )
}

/** STL-10 images, column by column. */
export function stlImages(count: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length: count * 3 * 96 * 96 }, (_, i) => (i * 5 + (i >> 9) + seed) & 255)
}
