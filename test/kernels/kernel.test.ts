import { describe, expect, it } from 'vitest'
import {
  defineKernel,
  kernelFamily,
  kernelSource,
  linearWorkgroups,
  MAX_WORKGROUPS,
  packParams,
  read,
  readWrite,
} from '../../src/kernels/kernel.ts'
import { rowOptions } from '../../src/kernels/rows.ts'

const kernel = defineKernel({
  label: 'example',
  bindings: { x: read('vec4<f32>'), index: read('u32'), out: readWrite('f32') },
  params: { size: 'u32', scale: 'f32' },
  features: ['subgroups', 'shader-f16'],
  workgroups: () => [1, 1, 1],
  wgsl: 'fn main() {}',
})

describe('a kernel', () => {
  it('becomes a module with its features, bindings in order, and params', () => {
    expect(kernelSource(kernel)).toBe(
      [
        'enable subgroups;',
        'enable f16;',
        '@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;',
        '@group(0) @binding(1) var<storage, read> index: array<u32>;',
        '@group(0) @binding(2) var<storage, read_write> out: array<f32>;',
        'struct Params { size: u32, scale: f32 }',
        '@group(0) @binding(3) var<uniform> params: Params;',
        'fn main() {}',
      ].join('\n'),
    )
    expect(kernelSource({ ...kernel, params: {}, features: [] })).not.toContain('Params')
  })

  it('packs its params in order, padded to 16 bytes', () => {
    const data = new DataView(packParams(kernel, { scale: -1.5, size: 0xfffffffe }))
    expect(data.byteLength).toBe(16)
    expect(data.getUint32(0, true)).toBe(0xfffffffe)
    expect(data.getFloat32(4, true)).toBe(-1.5)
    const many = defineKernel({
      label: 'many',
      bindings: {},
      params: { a: 'u32', b: 'u32', c: 'u32', d: 'u32', e: 'u32' },
      workgroups: () => [1, 1, 1],
      wgsl: '',
    })
    expect(packParams(many, { a: 1, b: 2, c: 3, d: 4, e: 5 }).byteLength).toBe(32)
  })

  it('is made once for equal options', () => {
    let made = 0
    const family = kernelFamily((options: { n: number }) => ({ id: ++made, ...options }))
    expect(family({ n: 1 })).toBe(family({ n: 1 }))
    expect(family({ n: 2 })).not.toBe(family({ n: 1 }))
    expect(made).toBe(2)
  })
})

describe('linearWorkgroups', () => {
  it.each([
    [0, 64, [1, 1, 1]],
    [1, 64, [1, 1, 1]],
    [64, 64, [1, 1, 1]],
    [65, 64, [2, 1, 1]],
    [MAX_WORKGROUPS, 1, [MAX_WORKGROUPS, 1, 1]],
    [MAX_WORKGROUPS + 1, 1, [32768, 2, 1]],
    [MAX_WORKGROUPS + 2, 1, [32769, 2, 1]],
  ])('gives %i items of %i: %j', (count, size, expected) => {
    expect(linearWorkgroups(count, size)).toEqual(expected)
  })
})

describe('rowOptions', () => {
  it.each([
    [16, false, 1],
    [17, false, 64],
    [1023, true, 1],
    [1025, true, 64],
    [4096, true, 1],
    [4100, true, 64],
  ])('for %i columns, software %s: %i', (columns, software, lanes) => {
    expect(rowOptions(columns, software).lanes).toBe(lanes)
    expect(rowOptions(columns, software).vector).toBe(columns % 4 === 0)
  })
})
