import { deflateRawSync, gzipSync } from 'node:zlib'
import { serializeSafetensors } from '../../src/model/safetensors.ts'
import {
  cifarRecords,
  concat,
  makeTar,
  makeZip,
  paxEntry,
  sealed,
  stlImages,
  tarEnd,
  tarEntry,
} from '../support/archives.ts'

/** A sound small file of some kind, and what its mutants have to keep to. */
export interface Sample {
  readonly kind: string
  /** The name that its mutants are written under. */
  readonly file: string
  readonly bytes: Uint8Array
  /** Whether checksums cover its contents: what is read must then be an original. */
  readonly isChecked?: boolean
  /** Done to a mutant, so that damage lies below the checksum of what wraps it. */
  readonly finish?: (mutant: Uint8Array) => Uint8Array
}

// Buffers would share their bytes with what slices them.
const gzip = (bytes: Uint8Array): Uint8Array => new Uint8Array(gzipSync(bytes, { level: 1 }))

const noise = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (Math.imul(i + seed, 2654435761) >>> 13) & 255)

/** The contents of the archives' images. */
export const originals = [noise(300, 1), noise(700, 2), new Uint8Array(1500).fill(7)]

const images = originals.map((content, i) => ({ name: `top/${'ab'[i % 2]}/${i}.png`, content }))
const tar = concat(
  tarEntry({ name: 'top/', kind: '5' }),
  tarEntry(images[0]!),
  paxEntry({ path: `top/b/${'long/'.repeat(30)}1.png`, size: '700' }),
  tarEntry(images[1]!),
  tarEntry({ name: '././@LongLink', kind: 'L', content: `top/a/${'deep/'.repeat(30)}2.png\0` }),
  tarEntry(images[2]!),
  tarEnd,
)
const cifar = makeTar([
  {
    name: 'c/batches.meta.txt',
    content: 'airplane automobile bird cat deer dog frog horse ship truck'.replaceAll(' ', '\n'),
  },
  { name: 'c/data_batch_1.bin', content: cifarRecords([[1], [9]]) },
  { name: 'c/test_batch.bin', content: cifarRecords([[3]]) },
])

/** Headers get a sum that holds, so that what is wrong in them is looked at. */
function reseal(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  for (let at = 0; at + 512 <= copy.length; at += 512) {
    const block = copy.subarray(at, at + 512) as Uint8Array<ArrayBuffer>
    const looksLikeHeader = block[257] === 0x75 && block[258] === 0x73
    if (looksLikeHeader) sealed(block)
  }
  return copy
}

export const samples: readonly Sample[] = [
  { kind: 'tar', file: 'x.tar', bytes: tar },
  { kind: 'tar headers', file: 'x.tar', bytes: tar, finish: reseal },
  { kind: 'tar.gz', file: 'x.tgz', bytes: gzip(tar), isChecked: true },
  {
    kind: 'tar in gzip',
    file: 'x.tgz',
    bytes: tar,
    finish: (mutant) => gzip(reseal(mutant)),
  },
  { kind: 'zip', file: 'x.zip', bytes: makeZip(images), isChecked: true },
  {
    kind: 'deflated zip',
    file: 'x.zip',
    bytes: makeZip(images.map((item) => ({ ...item, deflated: deflateRawSync(item.content) }))),
    isChecked: true,
  },
  { kind: 'CIFAR-10', file: 'test_batch.bin', bytes: cifarRecords([[1], [9]]) },
  {
    kind: 'CIFAR-100',
    file: 'train.bin',
    bytes: cifarRecords([
      [1, 72],
      [19, 99],
    ]),
  },
  { kind: 'CIFAR-10 in tar', file: 'x.tar', bytes: cifar, finish: reseal },
  { kind: 'STL-10', file: 'test_X.bin', bytes: stlImages(1) },
  {
    kind: 'STL-10 in tar',
    file: 'x.tar',
    bytes: makeTar([
      { name: 's/test_X.bin', content: stlImages(1) },
      { name: 's/test_y.bin', content: Uint8Array.from([10]) },
    ]),
    finish: reseal,
  },
  {
    kind: 'list',
    file: 'x.txt',
    bytes: concat('# some\n0.png\tcat\n"1.png"\tdog\n./2.png\tcat\n'),
  },
  {
    kind: 'CSV',
    file: 'x.csv',
    bytes: concat('path,cluster,label\n0.png,1,a\n"1.png",2,"b, c"\n'),
  },
  { kind: 'synsets', file: 'synsets', bytes: concat('n00000001 cat # one\nn00000002 dog\n') },
  {
    kind: 'safetensors',
    file: 'x.safetensors',
    bytes: serializeSafetensors(
      {
        a: { dtype: 'F32', shape: [2, 3], data: new Float32Array(6).fill(0.5) },
        'b.weight': { dtype: 'F32', shape: [4], data: new Float32Array(4) },
        empty: { dtype: 'F32', shape: [0, 7], data: new Float32Array(0) },
      },
      { format: 'pt', note: 'a "quoted" é' },
    ),
  },
]
