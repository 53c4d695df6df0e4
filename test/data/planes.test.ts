import { describe, expect, it } from 'vitest'
import { findBinaryLayout } from '../../src/data/binaryLayout.ts'
import { crc32 } from '../../src/data/crc32.ts'
import { pixelsOfPlanes } from '../../src/data/planes.ts'

describe('pixelsOfPlanes', () => {
  // A plane of 3 × 2 pixels for each channel; the pixel at column x, row y of plane p is 100 p + 10 y + x.
  const value = (plane: number, x: number, y: number): number => 100 * plane + 10 * y + x
  const expected = [0, 1].flatMap((y) =>
    [0, 1, 2].flatMap((x) => [0, 1, 2].map((plane) => value(plane, x, y))),
  )

  it('reads planes along the rows', () => {
    const planes = [0, 1, 2].flatMap((plane) =>
      [0, 1].flatMap((y) => [0, 1, 2].map((x) => value(plane, x, y))),
    )
    const layout = { width: 3, height: 2, columnMajor: false }
    expect([...pixelsOfPlanes(Uint8Array.from(planes), layout).data]).toEqual(expected)
  })

  it('reads planes down the columns', () => {
    const planes = [0, 1, 2].flatMap((plane) =>
      [0, 1, 2].flatMap((x) => [0, 1].map((y) => value(plane, x, y))),
    )
    const layout = { width: 3, height: 2, columnMajor: true }
    const pixels = pixelsOfPlanes(Uint8Array.from(planes), layout)
    expect(pixels).toMatchObject({ width: 3, height: 2 })
    expect([...pixels.data]).toEqual(expected)
  })
})

describe('findBinaryLayout', () => {
  const find = (names: string[], size = 3073 * 10, only?: number) => {
    const layout = findBinaryLayout(
      names,
      names.map(() => size),
      only,
    )
    return layout && [layout.kind, ...layout.parts.map(({ stem }) => stem)]
  }

  it('knows CIFAR-10 by its files, training first, batches by number', () => {
    const names = ['test_batch', 'data_batch_10', 'data_batch_2', 'batches.meta']
    const files = names.map((name) => `top/${name}.${name === 'batches.meta' ? 'txt' : 'bin'}`)
    expect(find(files)).toEqual(['cifar-10', 'data_batch_2', 'data_batch_10', 'test_batch'])
  })

  it('knows CIFAR-100 and STL-10, without the unlabelled part', () => {
    expect(find(['fine_label_names.txt', 'test.bin', 'train.bin'])).toEqual([
      'cifar-100',
      'train',
      'test',
    ])
    const stl = ['test_X.bin', 'test_y.bin', 'train_X.bin', 'train_y.bin', 'unlabeled_X.bin']
    expect(find(stl)).toEqual(['stl-10', 'train_X', 'test_X'])
    expect(find(stl, 27_648, 4)).toEqual(['stl-10', 'unlabeled_X'])
    expect(find(['unlabeled_X.bin'])).toEqual(['stl-10', 'unlabeled_X'])
  })

  it('tells single files apart by their length', () => {
    expect(find(['part.bin'], 3073 * 7, 0)).toEqual(['cifar-10', 'part'])
    expect(find(['part.bin'], 3074 * 7, 0)).toEqual(['cifar-100', 'part'])
  })

  it('takes other files for none', () => {
    expect(find(['a.jpg', 'notes.txt'])).toBeUndefined()
    expect(find(['model/test.bin', 'photos/1.jpg'], 1_000_000)).toBeUndefined()
  })
})

it('crc32 is that of zip', () => {
  const text = new TextEncoder().encode('123456789')
  expect(crc32(text)).toBe(0xcbf43926)
  expect(crc32(text.subarray(4), crc32(text.subarray(0, 4)))).toBe(0xcbf43926)
})
