import { describe, expect, it } from 'vitest'
import { blobSource, bufferSource, type ByteSource } from '../../src/model/byteSource.ts'
import { readSpans, REQUEST_BYTES, requestsFor, type Span } from '../../src/model/readSpans.ts'
import { openSafetensors } from '../../src/model/safetensorsSource.ts'
import { rejectionOf } from '../support/rejectionOf.ts'
import { expectSameBytes } from '../support/sameBytes.ts'
import { sha256 } from '../support/sha256.ts'

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 31) & 255)

describe.each([
  ['memory', (): ByteSource => bufferSource('it', bytes)],
  ['a Blob', (): ByteSource => blobSource(new Blob([bytes]), 'it')],
])('bytes of %s', (_, make) => {
  it('are read by ranges, within bounds, until stopped', async () => {
    const source = make()
    expect([source.name, source.size]).toEqual(['it', 1000])
    expectSameBytes(await source.read(0, 1000), bytes)
    expectSameBytes(await source.read(990, 1000), bytes.slice(990))
    expect((await source.read(1000, 1000)).length).toBe(0)
    for (const [begin, end] of [
      [0, 1001],
      [-1, 3],
      [5, 4],
      [0.5, 3],
      [0, NaN],
    ]) {
      const error = await rejectionOf(source.read(begin!, end!))
      expect(error.code).toBe('input')
      expect(error.message).toMatch(/^it: bytes/)
    }
    expect((await rejectionOf(source.read(0, 1, AbortSignal.abort()))).code).toBe('aborted')
  })
})

it('memory knows its hash, and gives copies; a file has its name', async () => {
  const own = bytes.slice()
  const source = bufferSource('it', own)
  expect(await source.sha256!()).toBe(await sha256([bytes]))
  ;(await source.read(0, 10)).fill(9)
  expectSameBytes(own, bytes)
  expect(blobSource(new File([bytes], 'weights.safetensors')).name).toBe('weights.safetensors')
})

it('a size that a server made up is no reason for a crash', async () => {
  const size = 2 ** 49
  const text = `{"w":{"dtype":"U8","shape":[${size}],"data_offsets":[0,${size}]}}`
  const file = new Uint8Array(8 + text.length)
  file[0] = text.length
  file.set(new TextEncoder().encode(text), 8)
  const inner = bufferSource('made up', file)
  const checkpoint = await openSafetensors({ ...inner, size: file.length + size })
  const stream = async (): Promise<void> => {
    for await (const tensor of checkpoint.stream(['w'])) expect(tensor.name).toBe('w')
  }
  const error = await rejectionOf(stream())
  expect(error.code).toBe('input')
  expect(error.message).toMatch(/^made up: 562949953421312 bytes at once/)
})

describe('requests', () => {
  const MiB = 2 ** 20

  it('join neighbours up to 32 MiB, step over small gaps, and cut what is longer', () => {
    const spans = (...pairs: [number, number][]): Span[] =>
      pairs.map(([begin, end]) => ({ begin, end }))
    expect(requestsFor(spans([0, 10], [10, 20], [60_000, 60_001]))).toEqual(spans([0, 60_001]))
    expect(requestsFor(spans([0, 10], [70_000, 70_001]))).toEqual(spans([0, 10], [70_000, 70_001]))
    expect(requestsFor(spans([5, 5], [7, 8]))).toEqual(spans([7, 8]))
    expect(requestsFor(spans([0, 20 * MiB], [20 * MiB, 33 * MiB]))).toEqual(
      spans([0, 20 * MiB], [20 * MiB, 33 * MiB]),
    )
    expect(requestsFor(spans([1, 70 * MiB]))).toEqual(
      spans([1, 32 * MiB + 1], [32 * MiB + 1, 64 * MiB + 1], [64 * MiB + 1, 70 * MiB]),
    )
  })

  /** A source whose bytes follow from their places. */
  function counting(lanes: number): ByteSource & { most: number; reads: Span[]; running: number } {
    return {
      name: 'counting',
      size: 200 * MiB,
      lanes,
      most: 0,
      running: 0,
      reads: [],
      async read(begin, end, signal) {
        this.reads.push({ begin, end })
        this.most = Math.max(this.most, ++this.running)
        await new Promise((resolve) => setTimeout(resolve, 1))
        this.running--
        if (signal?.aborted) throw new Error('stopped')
        const data = new Uint8Array(end - begin)
        for (let i = 0; i < data.length; i += MiB / 2) data[i] = (begin + i) / (MiB / 2)
        return data
      },
    }
  }

  it('give spans in order, a few requests at a time, and stop early', async () => {
    const source = counting(3)
    const spans = [
      { begin: 0, end: MiB },
      { begin: MiB, end: 2 * MiB },
      { begin: 2 * MiB, end: 2 * MiB },
      { begin: 10 * MiB, end: 100 * MiB },
      { begin: 150 * MiB, end: 151 * MiB },
    ]
    let told = 0
    const found: [number, number][] = []
    const all = readSpans(source, spans, { onRequest: (bytes) => (told += bytes) })
    for await (const data of all) found.push([data.length, data[0] ?? -1])
    expect(found).toEqual([
      [MiB, 0],
      [MiB, 2],
      [0, -1],
      [90 * MiB, 20],
      [MiB, 300 & 255],
    ])
    expect(told).toBe(93 * MiB)
    expect(source.most).toBe(3)
    expect(source.reads.every(({ begin, end }) => end - begin <= REQUEST_BYTES)).toBe(true)

    const early = counting(3)
    for await (const data of readSpans(early, spans)) {
      expect(data.length).toBe(MiB)
      break
    }
    expect(early.reads.length).toBe(3)
  })
})
