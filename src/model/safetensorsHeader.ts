import { KeeplightError } from '../runtime/errors.ts'

/** The header of a safetensors file: which tensors it describes, and every check of that. */

/** Bits per element; the order is the reference writer's, which writes the last ones first. */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const

export type SafetensorsDtype = keyof typeof DTYPE_BITS

export const DTYPES = Object.keys(DTYPE_BITS) as SafetensorsDtype[]

/** Largest header that is read or written, as in Hugging Face's clients. */
export const MAX_HEADER_BYTES = 25_000_000
/** Most tensors in one file. */
export const MAX_TENSORS = 20_000

export const METADATA = '__metadata__'
/** Most dimensions of one tensor, twice what NumPy takes. */
const MAX_DIMENSIONS = 128
const REMEDY = 'Get the file again from its source, or export it again'

export interface TensorInfo {
  readonly dtype: SafetensorsDtype
  readonly shape: readonly number[]
  /** First byte, counted from the start of the data section. */
  readonly begin: number
  /** One past the last byte. */
  readonly end: number
}

function malformed(problem: string, cause?: unknown): KeeplightError {
  return new KeeplightError('format', `safetensors: ${problem}. ${REMEDY}.`, { cause })
}

/** A value for a message, however long it is. */
export function show(value: unknown): string {
  if (typeof value === 'string' && value.length > 80) value = value.slice(0, 80)
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 80 ? `${text.slice(0, 77)}…` : text
}

export function isDtype(value: unknown): value is SafetensorsDtype {
  return typeof value === 'string' && Object.hasOwn(DTYPE_BITS, value)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** Half of a surrogate pair, which UTF-8 cannot hold. */
export const hasLoneSurrogate = (text: string) => /\p{Surrogate}/u.test(text)

/**
 * Bytes that a tensor takes.
 *
 * @returns the byte count, or what is wrong with the shape
 */
export function byteCount(dtype: SafetensorsDtype, shape: readonly number[]): number | string {
  if (shape.length > MAX_DIMENSIONS) return `${shape.length} dimensions, over ${MAX_DIMENSIONS}`
  let elements = 1
  for (const size of shape) {
    if (!isCount(size)) return `shape ${show(shape)} needs sizes from 0 to 2^53-1`
    elements *= size
    if (!Number.isSafeInteger(elements)) return `shape ${show(shape)} has over 2^53-1 elements`
  }
  const bits = elements * DTYPE_BITS[dtype]
  if (!Number.isSafeInteger(bits)) return `shape ${show(shape)} of ${dtype} has over 2^53-1 bits`
  if (bits % 8 !== 0) return `shape ${show(shape)} of ${dtype} is ${bits} bits, not whole bytes`
  return bits / 8
}

/**
 * Checks what `JSON.parse` would hide or choke on, before it runs: duplicate and `__proto__` keys,
 * too many keys, long arrays, deep nesting, and numbers that aren't plain digits (`2.0`, `1e3`,
 * `-0`). On text that isn't JSON it may find nothing; `JSON.parse` does.
 *
 * @param anyValues lets numbers of any form, true, false and null pass, which an index may have
 */
export function checkHeaderText(text: string, { anyValues = false } = {}): void {
  const keys: Set<string>[] = []
  let depth = 0
  let commas = 0
  let current = ''
  const where = () => (current === '' ? 'the header' : `the header entry ${show(current)}`)

  for (let i = 0; i < text.length; i++) {
    const character = text.charCodeAt(i)
    if (isSpace(character) || character === COLON) continue
    if (anyValues && isScalar(character)) continue
    if (isDigit(character)) {
      while (isDigit(text.charCodeAt(i + 1))) i++
      if (!endsNumber(text.charCodeAt(i + 1))) throw malformed(`${where()} ${notPlain(text, i)}`)
    } else if (character === OPEN_BRACE || character === OPEN_BRACKET) {
      // The header, a tensor's description, its shape: nothing nests deeper than three.
      if (++depth > 3) throw malformed(`${where()} nests deeper than a tensor description`)
      if (character === OPEN_BRACE) keys[depth] = new Set()
      else commas = 0
    } else if (character === CLOSE_BRACE || character === CLOSE_BRACKET) {
      depth--
    } else if (character === COMMA) {
      if (depth === 3 && ++commas >= MAX_DIMENSIONS) {
        throw malformed(`${where()} has an array of more than ${MAX_DIMENSIONS} entries`)
      }
    } else if (character === QUOTE) {
      const end = stringEnd(text, i)
      if (end < 0) throw malformed(`${where()} has a string without an end`)
      let next = end
      while (isSpace(text.charCodeAt(next))) next++
      const seen = keys[depth]
      if (text.charCodeAt(next) === COLON && seen !== undefined) {
        const key = parseJson(text.slice(i, end)) as string
        if (depth === 1) current = key
        if (key === '__proto__') throw malformed(`${where()} has a "__proto__" key`)
        if (seen.has(key)) throw malformed(`${where()} has the key ${show(key)} twice`)
        seen.add(key)
        if (seen.size > MAX_TENSORS + 1) {
          throw malformed(`${where()} has over ${MAX_TENSORS} entries`)
        }
      }
      i = end - 1
    } else {
      throw malformed(`${where()} ${notPlain(text, i)}`)
    }
  }
}

const COMMA = 0x2c
const COLON = 0x3a
const QUOTE = 0x22
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

const isDigit = (character: number) => character >= 0x30 && character <= 0x39

/** Characters of numbers, true, false and null. */
const isScalar = (character: number) =>
  isDigit(character) || /[-+.a-zE]/.test(String.fromCharCode(character))

const isSpace = (character: number) =>
  character === 0x20 || character === 0x0a || character === 0x0d || character === 0x09

/** What may follow the digits of a number; NaN stands for the end of the text. */
const endsNumber = (character: number) =>
  isSpace(character) ||
  character === COMMA ||
  character === CLOSE_BRACKET ||
  character === CLOSE_BRACE ||
  Number.isNaN(character)

/** The word at or around position `at`, as part of a message. */
function notPlain(text: string, at: number): string {
  const begin = text.slice(Math.max(0, at - 40), at).search(/[^\s"{}[\],:]*$/)
  const word = text.slice(Math.max(0, at - 40) + begin, at + 40).match(/^[^\s"{}[\],:]+/)
  const found = show(word?.[0] ?? text[at])
  return `holds ${found} where a string, an array or a non-negative integer belongs`
}

/** One past the closing quote of the JSON string that opens at `start`, or -1. */
function stringEnd(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote >= 0; quote = text.indexOf('"', quote + 1)) {
    let slash = quote - 1
    while (text[slash] === '\\') slash--
    if ((quote - slash) % 2 === 1) return quote + 1
  }
  return -1
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw malformed('the header is not valid JSON', cause)
  }
}

function parseTensorInfo(name: string, value: unknown): TensorInfo {
  const at = `tensor ${show(name)}`
  if (hasLoneSurrogate(name)) throw malformed(`${at} has a name that is not valid Unicode`)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(
      `${at} needs an object with dtype, shape and data_offsets, found ${show(value)}`,
    )
  }
  const { dtype, shape, data_offsets: offsets, ...rest } = value as Record<string, unknown>
  // A field we don't know could change what the bytes mean, and the format's schema allows none.
  const extra = Object.keys(rest)
  if (extra.length > 0) throw malformed(`${at} has the unknown field ${show(extra[0])}`)
  if (!isDtype(dtype)) {
    throw malformed(`${at} needs a dtype of ${DTYPES.join(', ')}, found ${show(dtype)}`)
  }
  if (!Array.isArray(shape)) throw malformed(`${at} needs an array as shape, found ${show(shape)}`)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw malformed(`${at} needs data_offsets [begin, end], found ${show(offsets)}`)
  }
  const [begin, end] = offsets as number[]
  if (end < begin) throw malformed(`${at} ends before it begins: data_offsets ${show(offsets)}`)
  const bytes = byteCount(dtype, shape as number[])
  if (typeof bytes === 'string') throw malformed(`${at}: ${bytes}`)
  if (bytes !== end - begin) {
    throw malformed(
      `${at}: ${dtype} of shape ${show(shape)} takes ${bytes} bytes, its data_offsets ` +
        `${show(offsets)} give ${end - begin}`,
    )
  }
  return { dtype, shape: shape as number[], begin, end }
}

function parseMetadata(value: unknown): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(`${METADATA} needs an object of strings, found ${show(value)}`)
  }
  const metadata = new Map<string, string>()
  for (const [key, entry] of Object.entries(value)) {
    if (typeof entry !== 'string' || hasLoneSurrogate(`${key} ${entry}`)) {
      throw malformed(`${METADATA} entry ${show(key)} needs a Unicode string, found ${show(entry)}`)
    }
    metadata.set(key, entry)
  }
  return metadata
}

/**
 * Where the header ends and the data begin.
 *
 * @param file the file's first 8 bytes, or more of it
 * @param size bytes of the whole file
 * @throws KeeplightError `format`
 */
export function headerEnd(file: Uint8Array, size: number): number {
  if (size < 8) {
    throw malformed(`the file has ${size} bytes, fewer than the 8 of the header length`)
  }
  const view = new DataView(file.buffer, file.byteOffset, 8)
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true)
  if (length > MAX_HEADER_BYTES) {
    throw malformed(
      `a header of ${length} bytes is announced, at most ${MAX_HEADER_BYTES} are read`,
    )
  }
  if (8 + length > size) {
    throw malformed(`the header should end at byte ${8 + length}, the file ends at byte ${size}`)
  }
  return 8 + length
}

/** The header's JSON text, after the checks of its length and encoding, and where the data start. */
function headerText(file: Uint8Array, size: number): { text: string; dataStart: number } {
  const dataStart = headerEnd(file, size)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
      file.subarray(8, dataStart),
    )
  } catch (cause) {
    throw malformed('the header is not UTF-8', cause)
  }
  if (text[0] !== '{') throw malformed(`the header should start with "{", found ${show(text[0])}`)
  return { text, dataStart }
}

export interface Header {
  /** By name, in the order of the data. */
  readonly tensors: Map<string, TensorInfo>
  readonly metadata: Map<string, string>
  /** Byte of the file at which the data section begins. */
  readonly dataStart: number
}

/**
 * Reads and checks the header of a file.
 *
 * @param file the whole file, or its first bytes up to the header's end
 * @param size bytes of the whole file
 * @throws KeeplightError `format`
 */
export function parseHeader(file: Uint8Array, size = file.length): Header {
  const { text, dataStart } = headerText(file, size)
  checkHeaderText(text)
  const entries = Object.entries(parseJson(text) as Record<string, unknown>)

  let metadata = new Map<string, string>()
  const infos: [string, TensorInfo][] = []
  for (const [name, value] of entries) {
    if (name === METADATA) metadata = parseMetadata(value)
    else infos.push([name, parseTensorInfo(name, value)])
  }
  if (infos.length > MAX_TENSORS) {
    throw malformed(`the file has ${infos.length} tensors, at most ${MAX_TENSORS} are read`)
  }

  infos.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)
  let end = 0
  for (const [name, info] of infos) {
    if (info.begin !== end) {
      const fault = info.begin < end ? 'overlaps the tensor before it' : 'leaves a hole before it'
      throw malformed(
        `tensor ${show(name)} ${fault}: it should begin at byte ${end}, it begins at ${info.begin}`,
      )
    }
    end = info.end
  }
  if (dataStart + end !== size) {
    throw malformed(`the header describes a file of ${dataStart + end} bytes, this one has ${size}`)
  }
  return { tensors: new Map(infos), metadata, dataStart }
}
