import { deflateSync, gzipSync } from 'node:zlib'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ImageCollection } from '../../src/data/collection.ts'
import { crc32 } from '../../src/data/crc32.ts'
import { decodeCollection } from '../../src/data/decode.node.ts'
import { Draws } from '../fuzz/draws.ts'
import { mutate } from '../fuzz/mutate.ts'
import { bytesOf, concat, type Content } from '../support/archives.ts'
import { compileWorker } from './compileWorker.ts'

/** Images made to break a decoder: each is refused by name, or its pixels are right in number. */
interface Hostile {
  readonly name: string
  readonly bytes: Uint8Array
  /** `broken`: must be refused; `whole`: must be read; else either. */
  readonly fate?: 'broken' | 'whole'
}

const size = 32
const preprocess = { size, resize: size, mean: [0, 0, 0], std: [1, 1, 1] } as const
let workerUrl: URL
let removeWorker: () => Promise<void>
let sound: Readonly<Record<string, Uint8Array>>
let all: Hostile[]

beforeAll(async () => {
  ;({ workerUrl, removeWorker } = await compileWorker())
  sound = await soundImages()
  all = [...truncated(), ...bombs(), ...blocked(), ...misnamed(), ...damaged()]
})
afterAll(() => removeWorker())

async function soundImages(): Promise<Record<string, Uint8Array>> {
  const data = Uint8Array.from({ length: 60 * 45 * 3 }, (_, i) => (i * 37 + (i >> 5) * 11) & 255)
  const picture = sharp(data, { raw: { width: 60, height: 45, channels: 3 } })
  const formats = ['jpeg', 'png', 'webp', 'avif', 'gif', 'tiff'] as const
  const encoded = formats.map(async (format): Promise<[string, Uint8Array]> => [
    format,
    new Uint8Array(await picture.clone().toFormat(format).toBuffer()),
  ])
  return Object.fromEntries(await Promise.all(encoded))
}

/** 60: each format cut at ten places. */
function truncated(): Hostile[] {
  return Object.entries(sound).flatMap(([format, bytes]) =>
    Array.from({ length: 10 }, (_, i) => ({
      name: `${format} cut at ${i * 8 + 4} %.${format}`,
      bytes: bytes.slice(0, Math.floor((bytes.length * (i * 8 + 4)) / 100)),
      fate: 'broken' as const,
    })),
  )
}

function png(width: number, height: number, data: Content, bits = 8, colour = 2): Uint8Array {
  const chunk = (type: string, content: Uint8Array): Uint8Array => {
    const body = concat(type, content)
    const edges = new DataView(new ArrayBuffer(8))
    edges.setUint32(0, content.length)
    edges.setUint32(4, crc32(body))
    return concat(new Uint8Array(edges.buffer, 0, 4), body, new Uint8Array(edges.buffer, 4))
  }
  const header = new DataView(new ArrayBuffer(13))
  header.setUint32(0, width)
  header.setUint32(4, height)
  header.setUint8(8, bits)
  header.setUint8(9, colour)
  const signature = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return concat(
    signature,
    chunk('IHDR', new Uint8Array(header.buffer)),
    chunk('IDAT', deflateSync(bytesOf(data))),
    chunk('IEND', new Uint8Array(0)),
  )
}

/** A GIF with a screen of this size and so many frames of one pixel. */
function gif(width: number, height: number, frames: number): Uint8Array {
  const short = (value: number): number[] => [value & 255, value >> 8]
  const head = [
    ...bytesOf('GIF89a'),
    ...short(width),
    ...short(height),
    0x80,
    0,
    0,
    0,
    0,
    0,
    255,
    255,
    255,
  ]
  const frame = [0x21, 0xf9, 4, 0, 1, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0]
  const body = new Uint8Array(frame.length * frames)
  for (let i = 0; i < frames; i++) body.set(frame, i * frame.length)
  return concat(Uint8Array.from(head), body, Uint8Array.from([0x3b]))
}

/** The bytes with others in the place that follows a mark. */
function patched(
  bytes: Uint8Array,
  mark: readonly number[],
  skip: number,
  put: number[],
): Uint8Array {
  const copy = bytes.slice()
  const at = Buffer.from(copy).indexOf(Buffer.from(mark))
  if (at < 0) throw new Error('the mark is not there')
  copy.set(put, at + mark.length + skip)
  return copy
}

/** 26: pictures that claim far more pixels than they bring, or unfold to them. */
function bombs(): Hostile[] {
  const claims: [number, number][] = [
    ...([
      [50_000, 50_000],
      [65_535, 65_535],
      [1_000_000, 1_000],
      [1, 2 ** 31 - 1],
    ] as const),
    ...([
      [2 ** 31 - 1, 2 ** 31 - 1],
      [0, 0],
      [0, 10],
      [10, 0],
      [2 ** 32 - 1, 1],
    ] as const),
    ...([
      [7_072, 7_072],
      [100_000_000, 1],
    ] as const),
  ].map(([width, height]) => [width, height])
  const be = (value: number): number[] => [value >> 8, value & 255]
  const frame = (marker: number): number[] => [0xff, marker]
  const { jpeg, avif, tiff } = sound
  const tiffWidth = [0x00, 0x01] // the tag 256, little end first
  return [
    ...claims.map(([width, height]) => ({
      name: `PNG of ${width}×${height}`,
      bytes: png(width, height, new Uint8Array(100)),
      fate: 'broken' as const,
    })),
    {
      name: 'PNG of 7000×7000 in one bit, all there',
      bytes: png(7000, 7000, new Uint8Array(876 * 7000), 1, 0),
      fate: 'whole',
    },
    { name: 'PNG with 200 MB behind its pixels', bytes: png(4, 4, new Uint8Array(20_000_000)) },
    // Of a frame smaller than its screen libvips may make the frame alone.
    { name: 'GIF of 65535×65535', bytes: gif(65_535, 65_535, 1) },
    { name: 'GIF of 50000×2000', bytes: gif(50_000, 2_000, 1) },
    { name: 'GIF of 20,000 frames', bytes: gif(1, 1, 20_000), fate: 'whole' },
    { name: 'GIF of 5,000 frames of 3000×3000', bytes: gif(3_000, 3_000, 5_000), fate: 'whole' },
    { name: 'GIF of no frames', bytes: gif(10, 10, 0), fate: 'broken' },
    {
      name: 'JPEG of 65535×65535',
      bytes: patched(jpeg!, frame(0xc0), 3, [...be(65_535), ...be(65_535)]),
      fate: 'broken',
    },
    {
      name: 'JPEG of 65500×700',
      bytes: patched(jpeg!, frame(0xc0), 3, [...be(700), ...be(65_500)]),
      fate: 'broken',
    },
    {
      name: 'JPEG of no size',
      bytes: patched(jpeg!, frame(0xc0), 3, [0, 0, 0, 0]),
      fate: 'broken',
    },
    {
      name: 'AVIF of 60000×60000',
      bytes: patched(avif!, [...bytesOf('ispe')], 4, [0, 0, ...be(60_000), 0, 0, ...be(60_000)]),
      fate: 'broken',
    },
    {
      name: 'TIFF of 2^31 columns',
      bytes: patched(tiff!, [...tiffWidth, 3, 0, 1, 0, 0, 0], 0, [255, 255, 0, 0]),
      fate: 'broken',
    },
    {
      name: 'TIFF whose pages go round',
      bytes: concat('II*\0', Uint8Array.from([8, 0, 0, 0, 0, 0, 8, 0, 0, 0])),
      fate: 'broken',
    },
    { name: 'WebP of 16383×16383', bytes: webp(16_383, 16_383), fate: 'broken' },
    { name: 'WebP of 10000×10000', bytes: webp(10_000, 10_000), fate: 'broken' },
  ]
}

/** An extended WebP that claims a canvas, and holds the sound picture's data. */
function webp(width: number, height: number): Uint8Array {
  const data = sound.webp!.subarray(12)
  const canvas = [width - 1, height - 1].flatMap((v) => [v & 255, (v >> 8) & 255, v >> 16])
  const body = concat('WEBPVP8X', Uint8Array.from([10, 0, 0, 0, 0, 0, 0, 0, ...canvas]), data)
  const length = new DataView(new ArrayBuffer(4))
  length.setUint32(0, body.length, true)
  return concat('RIFF', new Uint8Array(length.buffer), body)
}

/** 42: formats that libvips could read and Keeplight doesn't, and what is no picture at all. */
function blocked(): Hostile[] {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
  const entities = `<!DOCTYPE s [${Array.from({ length: 9 }, (_, i) => `<!ENTITY e${i + 1} "${`&e${i};`.repeat(10)}">`).join('')}]>`
  const texts: readonly Content[] = [
    `${svg}</svg>`,
    `<?xml version="1.0"?>${svg}<rect width="9" height="9"/></svg>`,
    `${svg}<image href="file:///etc/passwd" width="9" height="9"/></svg>`,
    `${svg}<image href="http://127.0.0.1:1/x.png" width="9" height="9"/></svg>`,
    `<?xml version="1.0"?>${entities}${svg}<text>&e9;</text></svg>`,
    `<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]>${svg}<text>&x;</text></svg>`,
    `<svg xmlns="http://www.w3.org/2000/svg" width="1000000" height="1000000"/>`,
    gzipSync(`${svg}</svg>`),
    '%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n',
    '%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n',
    'P1\n2 2\n1 0 0 1\n',
    'P2\n2 2\n9\n1 2 3 4\n',
    'P3\n1 1\n255\n1 2 3\n',
    'P5\n2 2\n255\nabcd',
    'P6\n1 1\n255\nabc',
    'P6\n50000 50000\n255\nabc',
    'Pf\n1 1\n-1.0\n\0\0\0\0',
    'PF\n1 1\n1.0\n\0\0\0\0\0\0\0\0\0\0\0\0',
    `SIMPLE  =                    T${' '.repeat(50)}BITPIX  =                    8`.padEnd(2880),
    '#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\nabcd',
    concat('BM', new Uint8Array(60)),
    Uint8Array.from([
      0,
      0,
      1,
      0,
      1,
      0,
      16,
      16,
      0,
      0,
      1,
      0,
      32,
      0,
      ...new Array<number>(40).fill(0),
    ]),
    concat(Uint8Array.from([0x76, 0x2f, 0x31, 0x01, 2, 0, 0, 0]), new Uint8Array(100)),
    concat(
      Uint8Array.from([0, 0, 0, 12]),
      'jP  \r\n',
      Uint8Array.from([0x87, 10]),
      new Uint8Array(60),
    ),
    concat(Uint8Array.from([0xff, 0x4f, 0xff, 0x51]), new Uint8Array(60)),
    concat(Uint8Array.from([0xff, 0x0a]), new Uint8Array(60)),
    concat(
      Uint8Array.from([0, 0, 0, 12]),
      'JXL \r\n',
      Uint8Array.from([0x87, 10]),
      new Uint8Array(60),
    ),
    concat(Uint8Array.from([0, 0, 0, 24]), 'ftypheic\0\0\0\0mif1heic', new Uint8Array(60)),
    concat('8BPS\0\u0001', new Uint8Array(60)),
    concat(new Uint8Array(128), 'DICM', new Uint8Array(60)),
    concat('MATLAB 5.0 MAT-file', new Uint8Array(128)),
    concat(Uint8Array.from([0x08, 0xf2, 0xa6, 0xb6]), new Uint8Array(120)),
    concat('gimp xcf v011\0', new Uint8Array(60)),
    concat('n+1\0', new Uint8Array(400)),
    '1 2 3\n4 5 6\n',
    'push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 "ephemeral:/tmp/x"\n',
    '<html><img src=x onerror=alert(1)></html>',
    '{"width": 9}',
    '#!/bin/sh\nexit 1\n',
    concat('PK\u0003\u0004', new Uint8Array(60)),
    new Uint8Array(5000),
    new Uint8Array(5000).fill(255),
  ]
  return texts.map((content, i) => ({
    name: `blocked ${i}.${['jpg', 'png', 'gif'][i % 3]}`,
    bytes: bytesOf(content),
    fate: 'broken' as const,
  }))
}

/** 12: sound pictures under another's ending, and with something behind them. */
function misnamed(): Hostile[] {
  const names = Object.keys(sound)
  return names.flatMap((format, i) => [
    {
      name: `${format}.${names[(i + 1) % names.length]}`,
      bytes: sound[format]!,
      fate: 'whole' as const,
    },
    {
      name: `${format} and more.${format}`,
      bytes: concat(sound[format]!, '<script>alert(1)</script>'),
    },
  ])
}

/** 60: ten mutants of each format. */
function damaged(): Hostile[] {
  return Object.entries(sound).flatMap(([format, bytes], f) =>
    Array.from({ length: 10 }, (_, i) => ({
      name: `damaged ${i}.${format}`,
      bytes: mutate(bytes, new Draws(f, i), sound.png!),
    })),
  )
}

function collectionOf(images: readonly Hostile[]): ImageCollection {
  const files = images.map(({ name }) => name)
  return {
    ...{ root: '/', kind: 'test', files, labels: undefined, classes: [], ignored: 0 },
    async *read(indices = []) {
      for (const index of indices) {
        const { bytes } = images[index]!
        const content =
          bytes.length === 0 ? { unreadable: 'empty' } : { bytes: new Uint8Array(bytes) }
        yield { index, content }
      }
    },
  }
}

describe('hostile images', () => {
  it('are 200', () => expect(all).toHaveLength(200))

  it('cost neither the process, nor a second, nor much memory', async () => {
    // One at a time, so that the processor time between two outcomes is that of one image.
    const settings = { preprocess, views: 0, workers: 1, window: 1, workerUrl }
    const before = process.resourceUsage().maxRSS
    const faults: string[] = []
    let refused = 0
    let longest = 0
    let usage = process.cpuUsage()
    for await (const outcome of decodeCollection(collectionOf(all), settings)) {
      const { user, system } = process.cpuUsage(usage)
      usage = process.cpuUsage()
      const seconds = (user + system) / 1e6
      if (outcome.index > 0) longest = Math.max(longest, seconds) // the first waits for the thread
      const { name, fate } = all[outcome.index]!
      if (!outcome.ok) refused++
      if (fate === 'broken' && outcome.ok) faults.push(`${name}: was read`)
      if (fate === 'whole' && !outcome.ok) faults.push(`${name}: ${outcome.message}`)
      if (outcome.ok && outcome.image?.views.length !== size * size * 3)
        faults.push(`${name}: pixels`)
      if (!outcome.ok && /crashed|given up/.test(outcome.message)) {
        faults.push(`${name}: ${outcome.message}`)
      }
      if (outcome.index > 0 && seconds > 1) faults.push(`${name}: ${seconds} s`)
    }
    expect(faults).toEqual([])
    expect(refused).toBeGreaterThan(140)
    expect(longest).toBeLessThan(1)
    expect((process.resourceUsage().maxRSS - before) * 1024).toBeLessThan(512 * 1024 * 1024)
  })
})
