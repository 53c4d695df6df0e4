import { describe, expect, it } from 'vitest'
import { randomBits } from '../../src/kernels/random.ts'
import {
  MAX_HEADER_BYTES,
  parseSafetensors,
  serializeSafetensors,
} from '../../src/model/safetensors.ts'
import type { SafetensorsDtype, TensorData } from '../../src/model/safetensors.ts'
import { errorOf } from '../support/errorOf.ts'
import { describeGolden, readGolden } from '../support/golden.ts'
import { expectSameBytes } from '../support/sameBytes.ts'
import { file, tensor } from '../support/safetensorsFile.ts'

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

describe('what is accepted', () => {
  it('a scalar, an empty tensor, no tensors, padding', () => {
    const scalar = parseSafetensors(file(`{"w":${tensor('I32', '[]', '[0,4]')}}`, 4))
    expect([...scalar.int32('w')]).toEqual([0])
    const empty = parseSafetensors(file(`{"w":${tensor('I32', '[2,0]', '[0,0]')}}`))
    expect(empty.int32('w').length).toBe(0)
    expect(empty.tensors.get('w')).toEqual({ dtype: 'I32', shape: [2, 0], begin: 0, end: 0 })
    expect(parseSafetensors(file('{}')).tensors.size).toBe(0)
    expect(parseSafetensors(file('{}\r \t\n')).tensors.size).toBe(0)
  })

  it('tensors in any order of the header, listed in the order of the data', () => {
    const header = `{"b":${tensor('U8', '[1]', '[1,2]')},"a":${tensor('U8', '[1]', '[0,1]')}}`
    expect([...parseSafetensors(file(header, 2)).tensors.keys()]).toEqual(['a', 'b'])
  })

  it('names that objects inherit, names like numbers, names with quotes and braces', () => {
    const names = ['constructor', 'hasOwnProperty', '10', '9', '', 'a"b\\', '{"x":', 'été 🙂']
    const tensors = Object.fromEntries(
      names.map((name, i) => [name, { dtype: 'U8', shape: [], data: Uint8Array.of(i) } as const]),
    )
    const read = parseSafetensors(serializeSafetensors(tensors))
    names.forEach((name, i) => expect([...read.int32(name)]).toEqual([i]))
  })

  it('data that is not aligned, in a file that lies anywhere in a buffer', () => {
    const header = `{"a":${tensor('U8', '[1]', '[0,1]')},"b":${tensor('F32', '[2]', '[1,9]')}}`
    const bytes = file(header, 9)
    new DataView(bytes.buffer).setFloat32(bytes.length - 8, 1.5, true)
    new DataView(bytes.buffer).setFloat32(bytes.length - 4, -2.25, true)
    for (let shift = 0; shift < 8; shift++) {
      const buffer = new Uint8Array(bytes.length + 16)
      buffer.set(bytes, shift)
      const read = parseSafetensors(buffer.subarray(shift, shift + bytes.length))
      expect([...read.float32('b')]).toEqual([1.5, -2.25])
    }
    expect([...parseSafetensors(bytes.buffer as ArrayBuffer).float32('b')]).toEqual([1.5, -2.25])
  })

  it('sub-byte tensors that fill whole bytes', () => {
    const read = parseSafetensors(file(`{"w":${tensor('F6_E2M3', '[4]', '[0,3]')}}`, 3))
    expect(read.bytes('w').length).toBe(3)
  })
})

describe('values', () => {
  const read = parseSafetensors(
    serializeSafetensors({
      f16: { dtype: 'F16', shape: [3], data: Uint16Array.of(0x3c00, 0xc000, 0x7c00) },
      bf16: { dtype: 'BF16', shape: [2], data: Uint16Array.of(0x3f80, 0xc040) },
      f32: { dtype: 'F32', shape: [2], data: Float32Array.of(0.1, NaN) },
      f64: { dtype: 'F64', shape: [2], data: Float64Array.of(0.1, 1e300) },
      bool: { dtype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) },
      i8: { dtype: 'I8', shape: [1], data: Int8Array.of(-5) },
      u16: { dtype: 'U16', shape: [1], data: Uint16Array.of(65535) },
      i16: { dtype: 'I16', shape: [1], data: Int16Array.of(-300) },
      u32: { dtype: 'U32', shape: [2], data: Uint32Array.of(7, 2 ** 31) },
      i64: { dtype: 'I64', shape: [2], data: BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n) },
      u64: { dtype: 'U64', shape: [1], data: BigUint64Array.of(2n ** 53n + 1n) },
    }),
  )

  it('floats of every width as f32', () => {
    expect([...read.float32('f16')]).toEqual([1, -2, Infinity])
    expect([...read.float32('bf16')]).toEqual([1, -3])
    expect([...read.float32('f32')]).toEqual([Math.fround(0.1), NaN])
    expect([...read.float32('f64')]).toEqual([Math.fround(0.1), Infinity])
  })

  it('integers of every width as i32, never wrapped', () => {
    expect([...read.int32('bool')]).toEqual([0, 1])
    expect([...read.int32('i8')]).toEqual([-5])
    expect([...read.int32('u16')]).toEqual([65535])
    expect([...read.int32('i16')]).toEqual([-300])
    expect([...read.int32('i64')]).toEqual([-(2 ** 31), 2 ** 31 - 1])
    const error = errorOf(() => read.int32('u32'))
    expect(error.message).toMatch(/"u32" should fit .* element 1 is 2147483648/)
    expect(errorOf(() => read.int32('u64')).message).toMatch(/element 0 is 9007199254740993/)
  })

  it('the wrong reader and an unknown name are typed errors', () => {
    expect(errorOf(() => read.float32('i8')).message).toMatch(/"i8" should be F16.*it is I8/)
    expect(errorOf(() => read.int32('f32')).message).toMatch(/"f32" should be .*integer.*it is F32/)
    const error = errorOf(() => read.bytes('g32'))
    expect(error.code).toBe('format')
    expect(error.message).toMatch(/no tensor "g32".*it has 11, the first are u64, i64, f64/)
  })

  it('float32 and int32 give copies, bytes a view', () => {
    const bytes = serializeSafetensors({ w: { dtype: 'U8', shape: [1], data: Uint8Array.of(3) } })
    const file = parseSafetensors(bytes)
    const copy = file.int32('w')
    bytes[bytes.length - 1] = 4
    expect(copy[0]).toBe(3)
    expect(file.bytes('w')[0]).toBe(4)
  })
})

describe('writer', () => {
  it("writes the reference implementation's bytes", () => {
    const test: TensorData = { dtype: 'I32', shape: [2, 2], data: new Int32Array(4) }
    const bytes = serializeSafetensors({ test })
    expect([...bytes.subarray(0, 8)]).toEqual([64, 0, 0, 0, 0, 0, 0, 0])
    expect(text(bytes.subarray(8, 72))).toBe(
      '{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}    ',
    )
    expect(bytes.length).toBe(72 + 16)
    const empty = serializeSafetensors({})
    expect([...empty]).toEqual([8, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode('{}      ')])
  })

  it('puts metadata first, then the widest dtypes, then names in UTF-8 order', () => {
    const f32 = (value: number): TensorData => {
      return { dtype: 'F32', shape: [], data: Float32Array.of(value) }
    }
    const bytes = serializeSafetensors(
      {
        z: f32(1),
        a: { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) },
        // In UTF-16 the emoji sorts before U+FFFD, in UTF-8 after it.
        '🙂': f32(2),
        '\ufffd': f32(3),
        b: { dtype: 'I64', shape: [], data: BigInt64Array.of(4n) },
      },
      { format: 'pt' },
    )
    const read = parseSafetensors(bytes)
    expect([...read.tensors.keys()]).toEqual(['b', 'z', '\ufffd', '🙂', 'a'])
    expect(text(bytes.subarray(8, 40))).toBe('{"__metadata__":{"format":"pt"},')
    expect(new DataView(bytes.buffer).getUint32(0, true) % 8).toBe(0)
    for (const { dtype, begin } of read.tensors.values()) {
      const width = { I64: 8, F32: 4, U8: 1 }[dtype as 'I64' | 'F32' | 'U8']
      expect(begin % width).toBe(0)
    }
  })

  it('takes views into larger buffers', () => {
    const data = Float32Array.of(0, 1, 2, 3).subarray(1, 3)
    const read = parseSafetensors(serializeSafetensors({ w: { dtype: 'F32', shape: [2], data } }))
    expect([...read.float32('w')]).toEqual([1, 2])
  })

  it('round trips random files of every dtype', () => {
    const dtypes: [SafetensorsDtype, number][] = [
      ['BOOL', 8],
      ['F4', 4],
      ['F6_E2M3', 6],
      ['F6_E3M2', 6],
      ['U8', 8],
      ['I8', 8],
      ['F8_E5M2', 8],
      ['F8_E4M3', 8],
      ['F8_E8M0', 8],
      ['F8_E4M3FNUZ', 8],
      ['F8_E5M2FNUZ', 8],
      ['I16', 16],
      ['U16', 16],
      ['F16', 16],
      ['BF16', 16],
      ['I32', 32],
      ['U32', 32],
      ['F32', 32],
      ['C64', 64],
      ['F64', 64],
      ['I64', 64],
      ['U64', 64],
    ]
    for (let round = 0; round < 50; round++) {
      let draws = 0
      const draw = (below: number) => randomBits(3, round, draws++) % below
      const tensors: Record<string, TensorData> = {}
      for (let i = draw(12); i > 0; i--) {
        const [dtype, bits] = dtypes[draw(dtypes.length)]
        const shape = Array.from({ length: draw(4) }, () => draw(5))
        // Whole bytes, whatever the width of an element.
        if (bits < 8) shape.push(4)
        const length = (shape.reduce((product, size) => product * size, 1) * bits) / 8
        const data = Uint8Array.from({ length }, () => draw(256))
        tensors[`${draw(1000)}.${String.fromCodePoint(32 + draw(0xd000))}`] = { dtype, shape, data }
      }
      const metadata = { [`key ${draw(10)}`]: String.fromCodePoint(1 + draw(0xd000)) }
      const bytes = serializeSafetensors(tensors, metadata)
      const read = parseSafetensors(bytes)
      expect(Object.fromEntries(read.metadata)).toEqual(metadata)
      expect(read.tensors.size).toBe(Object.keys(tensors).length)
      for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
        expect(read.tensors.get(name)).toMatchObject({ dtype, shape })
        expect(read.bytes(name)).toEqual(data)
      }
      // Reading and writing again gives the same bytes: the layout depends on the content only.
      const again = [...read.tensors]
        .reverse()
        .map(
          ([name, { dtype, shape }]) => [name, { dtype, shape, data: read.bytes(name) }] as const,
        )
      expect(serializeSafetensors(Object.fromEntries(again), metadata)).toEqual(bytes)
    }
  })

  it.each<[string, Record<string, TensorData>, Record<string, string> | undefined, RegExp]>([
    [
      'a wrong byte count',
      { w: { dtype: 'F32', shape: [3], data: new Uint8Array(8) } },
      undefined,
      /tensor "w": F32 of shape \[3\] takes 12 bytes, got 8/,
    ],
    [
      'a shape that is not of sizes',
      { w: { dtype: 'U8', shape: [1.5], data: new Uint8Array(1) } },
      undefined,
      /"w": shape \[1.5\] needs sizes/,
    ],
    [
      'more dimensions than are read',
      { w: { dtype: 'U8', shape: new Array<number>(129).fill(1), data: new Uint8Array(1) } },
      undefined,
      /"w": 129 dimensions, over 128/,
    ],
    [
      'part of a byte',
      { w: { dtype: 'F4', shape: [1, 3], data: new Uint8Array(2) } },
      undefined,
      /12 bits, not whole bytes/,
    ],
    [
      'an unknown dtype',
      { w: { dtype: 'F7' as SafetensorsDtype, shape: [1], data: new Uint8Array(1) } },
      undefined,
      /"w" needs a dtype of BOOL, .*got "F7"/,
    ],
    [
      'the name of the metadata',
      { __metadata__: { dtype: 'U8', shape: [], data: new Uint8Array(1) } },
      undefined,
      /"__metadata__" cannot be the name/,
    ],
    [
      'half a surrogate pair',
      { '\ud800': { dtype: 'U8', shape: [], data: new Uint8Array(1) } },
      undefined,
      /cannot be the name/,
    ],
    ['a number as metadata', {}, { a: 1 } as unknown as Record<string, string>, /entry "a" needs/],
    [
      'a header over the cap',
      {},
      { a: 'x'.repeat(MAX_HEADER_BYTES) },
      /header of 250000\d\d bytes/,
    ],
  ])('refuses %s', (_, tensors, metadata, message) => {
    const error = errorOf(() => serializeSafetensors(tensors, metadata))
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(message)
  })
})

describeGolden('files of the Python implementation', () => {
  it.each(['ops.safetensors', 'clip-tiny/model.safetensors', 'preprocess/expected.safetensors'])(
    '%s: written again from what we read, the data are the same bytes',
    async (name) => {
      const bytes = await readGolden(name)
      const read = parseSafetensors(bytes)
      expect(read.tensors.size).toBeGreaterThan(0)
      const tensors = Object.fromEntries(
        [...read.tensors].map(([name, { dtype, shape }]) => {
          return [name, { dtype, shape, data: read.bytes(name) }]
        }),
      )
      const again = serializeSafetensors(tensors, Object.fromEntries(read.metadata))
      // The order of the metadata is free in the Python writer; all else must agree.
      const start = 8 + new DataView(bytes.buffer).getUint32(0, true)
      expectSameBytes(again.subarray(start), bytes.subarray(start))
      expect(parseSafetensors(again).tensors).toEqual(read.tensors)
    },
  )
})
