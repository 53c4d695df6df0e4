import { SafeTensor } from 'safetensors'
import { describe, expect, it } from 'vitest'
import { serializeSafetensors } from '../../src/model/safetensors.ts'
import type { TensorData } from '../../src/model/safetensors.ts'

// The package has no build that a page's test server loads as a module, so this runs in Node only.
describe("npm's safetensors reads what we write", () => {
  it('names, dtypes, shapes and bytes', () => {
    const tensors: Record<string, TensorData> = {
      'blocks.0.attn.qkv.weight': {
        dtype: 'F32',
        shape: [2, 3],
        data: Float32Array.of(1.5, -2, 3, 1e-8, Infinity, 0),
      },
      'été "quoted"': { dtype: 'F16', shape: [3], data: Uint16Array.of(0x3c00, 0x7bff, 0x8000) },
      scalar: { dtype: 'I64', shape: [], data: BigInt64Array.of(-5n) },
      empty: { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
      odd: { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 255) },
    }
    const theirs = new SafeTensor(serializeSafetensors(tensors))
    expect([...theirs.metadata.keys()].sort()).toEqual(Object.keys(tensors).sort())
    for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
      expect(theirs.metadata.get(name)).toMatchObject({ dtype, shape })
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      expect([...theirs.getTensor(name)]).toEqual([...bytes])
    }
  })

  it('a file without tensors', () => {
    expect(new SafeTensor(serializeSafetensors({})).metadata.size).toBe(0)
  })
})
