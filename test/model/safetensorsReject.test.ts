import { describe, expect, it } from 'vitest'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { randomBits } from '../../src/kernels/random.ts'
import {
  MAX_HEADER_BYTES,
  MAX_TENSORS,
  parseSafetensors,
  serializeSafetensors,
} from '../../src/model/safetensors.ts'
import { bufferSource } from '../../src/model/byteSource.ts'
import { openSafetensors } from '../../src/model/safetensorsSource.ts'
import { errorOf } from '../support/errorOf.ts'
import { rejectionOf } from '../support/rejectionOf.ts'
import { file, tensor } from '../support/safetensorsFile.ts'

/** By the reader of whole files and by the one that reads the header alone. */
async function expectRejected(bytes: Uint8Array, message: RegExp): Promise<void> {
  const opened = rejectionOf(openSafetensors(bufferSource('some file', bytes)))
  for (const error of [errorOf(() => parseSafetensors(bytes)), await opened]) {
    expect(error.code).toBe('format')
    expect(error.message).toMatch(message)
  }
  expect((await opened).message).toMatch(/^some file: safetensors: /)
}

describe('reject cases of the reference implementation', () => {
  const ten = Array.from({ length: 10 }, (_, i) => `"w${i}":${tensor('I32', '[2,2]', '[0,16]')}`)
  const cases: [name: string, bytes: Uint8Array, message: RegExp][] = [
    ['an empty file', new Uint8Array(0), /has 0 bytes, fewer than the 8/],
    ['a file of 7 bytes', new Uint8Array(7), /has 7 bytes, fewer than the 8/],
    [
      'a header length beyond any cap',
      Uint8Array.of(0x3c, 0, 0, 0, 0, 0xff, 0xff, 0xff),
      /a header of \d+ bytes is announced, at most 25000000/,
    ],
    ['a header over 25 MB', file('{}', 0, MAX_HEADER_BYTES + 1), /header of 25000001 bytes/],
    ['a header past the end', file('{}', 0, 60), /should end at byte 68, the file ends at byte 10/],
    ['a header that is not UTF-8', file(Uint8Array.of(0x7b, 0xff, 0x7d)), /not UTF-8/],
    ['a header of one brace', file('{'), /not valid JSON/],
    [
      'an unknown dtype',
      file(`{"w":${tensor('F7', '[1]', '[0,1]')}}`, 1),
      /"w" needs a dtype.*"F7"/,
    ],
    [
      'extra bytes at the end',
      file(`{"w":${tensor('I32', '[2,2]', '[0,16]')}}`, 17),
      /describes a file of 81 bytes, this one has 82/,
    ],
    [
      'data two bytes short',
      file(`{"w":${tensor('I32', '[2,2]', '[0,16]')}}`, 14),
      /describes a file of 81 bytes, this one has 79/,
    ],
    [
      'ten tensors in one place',
      file(`{${ten.join()}}`, 16),
      /"w1" overlaps .*byte 16.*begins at 0/,
    ],
    [
      'fewer bytes than the shape takes',
      file(`{"w":${tensor('I32', '[2,2]', '[0,4]')}}`, 4),
      /"w": I32 of shape \[2,2\] takes 16 bytes.*give 4/,
    ],
    [
      'a product beyond 64 bits',
      file(`{"w":${tensor('I32', '[2,18446744073709551614]', '[0,16]')}}`, 16),
      /"w": shape .* needs sizes from 0 to 2\^53-1/,
    ],
    [
      'a product beyond 63 bits',
      file(`{"w":${tensor('I32', '[2,9223372036854775807]', '[0,16]')}}`, 16),
      /"w": shape .* needs sizes/,
    ],
    [
      'a product that wraps to 4 in 64 bits',
      file(`{"w":${tensor('U8', '[4194305,4194305,211106198978564]', '[0,4]')}}`, 4),
      /"w": shape .* over 2\^53-1 elements/,
    ],
    [
      'a product of bits beyond safe integers',
      file(`{"w":${tensor('F64', '[9007199254740991]', '[0,8]')}}`, 8),
      /"w": shape .* over 2\^53-1 bits/,
    ],
    [
      'a sub-byte tensor that ends inside a byte',
      file(`{"w":${tensor('F4', '[1,3]', '[0,2]')}}`, 2),
      /"w": shape \[1,3\] of F4 is 12 bits/,
    ],
  ]
  it.each(cases)('%s', (_, bytes, message) => expectRejected(bytes, message))
})

describe('further reject cases', () => {
  const good = tensor('U8', '[1]', '[0,1]')
  const cases: [name: string, header: string, dataBytes: number, message: RegExp][] = [
    ['white space before the brace', ' {}', 0, /should start with "\{", found " "/],
    ['a byte order mark', '\ufeff{}', 0, /should start with/],
    ['an array', '[]', 0, /should start with/],
    ['text after the object', '{} {}', 0, /not valid JSON/],
    ['a zero byte as padding', '{}\0', 0, /not valid JSON|holds/],
    ['an unclosed string', '{"w', 0, /without an end/],
    ['a tensor that is a string', '{"w":"F32"}', 0, /"w" needs an object.*found "F32"/],
    ['a tensor that is null', '{"w":null}', 0, /entry "w" holds "null"/],
    ['a tensor that is an array', '{"w":[]}', 0, /"w" needs an object.*found \[\]/],
    ['no dtype', '{"w":{"shape":[1],"data_offsets":[0,1]}}', 1, /"w" needs a dtype .* undefined/],
    ['a dtype of another case', `{"w":${tensor('u8', '[1]', '[0,1]')}}`, 1, /needs a dtype/],
    ['a dtype that every object has', `{"w":${tensor('toString', '[1]', '[0,1]')}}`, 1, /dtype/],
    ['no shape', '{"w":{"dtype":"U8","data_offsets":[0,1]}}', 1, /needs an array as shape/],
    ['a shape that is a number', `{"w":${tensor('U8', '1', '[0,1]')}}`, 1, /an array as shape/],
    ['a nested shape', `{"w":${tensor('U8', '[[1]]', '[0,1]')}}`, 1, /"w" nests deeper/],
    ['a string in the shape', `{"w":${tensor('U8', '["1"]', '[0,1]')}}`, 1, /needs sizes/],
    ['a negative size', `{"w":${tensor('U8', '[-1]', '[0,1]')}}`, 1, /entry "w" holds "-1"/],
    ['a fraction', `{"w":${tensor('U8', '[1.5]', '[0,1]')}}`, 1, /entry "w" holds "1.5"/],
    ['an integer written as a fraction', `{"w":${tensor('U8', '[1.0]', '[0,1]')}}`, 1, /"1.0"/],
    ['an exponent', `{"w":${tensor('U8', '[1e0]', '[0,1]')}}`, 1, /holds "1e0"/],
    ['a leading zero', `{"w":${tensor('U8', '[01]', '[0,1]')}}`, 1, /not valid JSON/],
    ['one offset', `{"w":${tensor('U8', '[1]', '[1]')}}`, 1, /needs data_offsets \[begin, end\]/],
    ['three offsets', `{"w":${tensor('U8', '[1]', '[0,1,1]')}}`, 1, /needs data_offsets/],
    ['offsets that are strings', `{"w":${tensor('U8', '[1]', '["0","1"]')}}`, 1, /data_offsets/],
    [
      'an end before the begin',
      `{"w":${tensor('U8', '[1]', '[1,0]')}}`,
      1,
      /ends before it begins/,
    ],
    ['an offset beyond 2^53', `{"w":${tensor('U8', '[1]', '[0,9007199254740993]')}}`, 1, /offsets/],
    ['a first tensor not at 0', `{"w":${tensor('U8', '[1]', '[1,2]')}}`, 2, /"w" leaves a hole/],
    [
      'a hole',
      `{"a":${good},"b":${tensor('U8', '[1]', '[2,3]')}}`,
      3,
      /"b" leaves a hole.*begin at byte 1, it begins at 2/,
    ],
    [
      'an overlap by one byte',
      `{"a":${tensor('U8', '[2]', '[0,2]')},"b":${tensor('U8', '[2]', '[1,3]')}}`,
      3,
      /"b" overlaps/,
    ],
    [
      'an unknown field',
      `{"w":{"scale":1,${good.slice(1)}}`,
      1,
      /"w" has the unknown field "scale"/,
    ],
    ['a duplicate tensor', `{"w":${good},"w":${good}}`, 1, /entry "w" has the key "w" twice/],
    ['a duplicate spelt by an escape', `{"w":${good},"\\u0077":${good}}`, 1, /key "w" twice/],
    [
      'a duplicate field',
      `{"w":{"dtype":"I8",${good.slice(1)}}`,
      1,
      /"w" has the key "dtype" twice/,
    ],
    ['duplicate metadata', '{"__metadata__":{"a":"1","a":"2"}}', 0, /the key "a" twice/],
    ['a __proto__ tensor', `{"__proto__":${good}}`, 1, /"__proto__" key/],
    ['a __proto__ field', `{"w":{"__proto__":[],${good.slice(1)}}`, 1, /"w" has a "__proto__" key/],
    ['an escaped __proto__', `{"\\u005f_proto__":${good}}`, 1, /"__proto__" key/],
    ['metadata that is a string', '{"__metadata__":"a"}', 0, /needs an object of strings/],
    ['metadata with a number', '{"__metadata__":{"a":1}}', 0, /entry "a" needs a Unicode string/],
    ['nested metadata', '{"__metadata__":{"a":{}}}', 0, /entry "a" needs a Unicode string/],
    ['half a surrogate pair', `{"\\ud800":${good}}`, 1, /name that is not valid Unicode/],
  ]
  it.each(cases)('%s', (_, header, dataBytes, message) => {
    return expectRejected(file(header, dataBytes), message)
  })

  it('more tensors than the cap', () => {
    const entries = (count: number) =>
      `{${Array.from({ length: count }, (_, i) => `"${i}":${tensor('U8', '[0]', '[0,0]')}`).join()}}`
    expect(parseSafetensors(file(entries(MAX_TENSORS))).tensors.size).toBe(MAX_TENSORS)
    const error = errorOf(() => parseSafetensors(file(entries(MAX_TENSORS + 1))))
    expect(error.message).toMatch(/20001 tensors, at most 20000/)
    expect(errorOf(() => parseSafetensors(file(entries(MAX_TENSORS + 2)))).code).toBe('format')
  })

  it('a megabyte of opening brackets, at once', () => {
    const error = errorOf(() => parseSafetensors(file('{"a":'.repeat(200_000))))
    expect(error.message).toMatch(/nests deeper/)
  })

  it('a shape of more dimensions than the cap', () => {
    const shape = (dimensions: number) => `[${Array(dimensions).fill('1').join(',')}]`
    const header = (dimensions: number) => `{"w":${tensor('U8', shape(dimensions), '[0,1]')}}`
    const read = parseSafetensors(file(header(128), 1))
    expect(read.tensors.get('w')?.shape.length).toBe(128)
    const error = errorOf(() => parseSafetensors(file(header(129), 1)))
    expect(error.message).toMatch(/entry "w" has an array of more than 128 entries/)
  })

  it('messages stay short and keep the offending value', () => {
    const sizes = `[${'1,'.repeat(100)}2]`
    const error = errorOf(() => parseSafetensors(file(`{"w":${tensor('U8', sizes, '[0,1]')}}`, 1)))
    expect(error.message).toMatch(/"w": U8 of shape \[1,1,/)
    expect(error.message.length).toBeLessThan(400)
    const name = 'n'.repeat(1_000_000)
    const long = errorOf(() => parseSafetensors(file(`{"${name}":${tensor('F7', '[]', '[0,0]')}}`)))
    expect(long.message).toMatch(/tensor "nnnn/)
    expect(long.message.length).toBeLessThan(400)
  })

  it('every truncation of a good file, and every file with one byte more', () => {
    const whole = serializeSafetensors(
      { a: { dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) } },
      { made: 'here' },
    )
    for (let length = 0; length < whole.length; length++) {
      expect(errorOf(() => parseSafetensors(whole.slice(0, length))).code).toBe('format')
    }
    const longer = new Uint8Array(whole.length + 1)
    longer.set(whole)
    expect(errorOf(() => parseSafetensors(longer)).code).toBe('format')
  })

  it('never throws anything but a typed error for mutated headers', async () => {
    const whole = serializeSafetensors(
      {
        one: { dtype: 'F16', shape: [2, 2], data: new Uint16Array(4) },
        two: { dtype: 'U8', shape: [], data: new Uint8Array(1) },
      },
      { key: 'value "quoted" \\' },
    )
    const headerEnd = 8 + new DataView(whole.buffer).getUint32(0, true)
    let rejected = 0
    for (let round = 0; round < 20_000; round++) {
      const mutated = whole.slice()
      for (let change = 0; change <= round % 3; change++) {
        const at = randomBits(7, round, 2 * change) % headerEnd
        mutated[at] = randomBits(7, round, 2 * change + 1) & 0xff
      }
      const before = rejected
      try {
        parseSafetensors(mutated)
      } catch (error) {
        expect(error).toBeInstanceOf(KeeplightError)
        rejected++
      }
      if (round % 40 > 0) continue
      const opened = openSafetensors(bufferSource('it', mutated))
      if (rejected > before) expect((await rejectionOf(opened)).code).toBe('format')
      else expect((await opened).tensors.size).toBeGreaterThan(0)
    }
    expect(rejected).toBeGreaterThan(10_000)
  })
})
