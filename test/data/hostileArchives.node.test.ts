import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deflateRawSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openCollection } from '../../src/data/openCollection.node.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import {
  concat,
  makeTar,
  makeZip,
  paxEntry,
  sealed,
  tarEnd,
  tarEntry,
  type Content,
  type ZipItem,
} from '../support/archives.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-hostile-'))
})
afterAll(() => rm(folder, { recursive: true }))

const a = { name: 'a.png', content: 'a' }
const zip = (item: Partial<ZipItem>, claimed?: number) => makeZip([{ ...a, ...item }], claimed)
const repeat = (bytes: Uint8Array, times: number) =>
  Buffer.concat(Array.from({ length: times }, () => bytes))
const zeros = (megabytes: number) => new Uint8Array(megabytes * 1_000_000)
/** Members of 8 MB of zeros, each in 8 kB. */
const gzipBomb = () => {
  const start = tarEntry({ name: 'a.png', size: 400_000_000 })
  return concat(gzipSync(start), repeat(gzipSync(zeros(8)), 50))
}
const end = (entries: number, at: number) => {
  const bytes = makeZip([])
  const view = new DataView(bytes.buffer)
  view.setUint16(10, entries, true)
  view.setUint32(16, at, true)
  return bytes
}
const zip64 = (entries: bigint, at: bigint) => {
  const record = new DataView(new ArrayBuffer(76))
  record.setUint32(0, 0x06064b50, true)
  record.setBigUint64(32, entries, true)
  record.setBigUint64(48, at, true)
  record.setUint32(56, 0x07064b50, true)
  record.setBigUint64(64, 4n, true)
  return concat('PK\u0003\u0004', new Uint8Array(record.buffer), end(0xffff, 0xffffffff))
}
/** Twenty entries of 8 MB, each in 8 kB. */
const deflatedBomb = () => {
  const bomb = { deflated: deflateRawSync(zeros(8)), size: 8_000_000, checksum: 0 }
  return makeZip(Array.from({ length: 20 }, (_, i) => ({ name: `${i}.png`, ...bomb })))
}
/** Many entries of one and the same deflated megabyte. */
const overlapping = () => {
  const content = zeros(1)
  const deflated = deflateRawSync(content)
  const items = Array.from({ length: 300 }, (_, i) => ({
    ...{ name: `${i}.png`, deflated, content, offset: 0 },
  }))
  return makeZip([
    items[0]!,
    ...items.slice(1).map((item) => ({
      ...item,
      deflated: deflated.subarray(0, 0),
      storedSize: deflated.length,
      method: 8,
    })),
  ])
}

/** 50 archives, and what is said of them; `read` ones are sound in the end. */
const hostile: readonly [name: string, make: () => Content, message: RegExp][] = [
  // Decompression bombs
  ['a gzip bomb', gzipBomb, /inflates to more than \d+ bytes .*decompression bomb/],
  [
    'a gzip bomb behind the end',
    () => concat(gzipSync(makeTar([a])), repeat(gzipSync(zeros(8)), 50)),
    /decompression bomb/,
  ],
  [
    'a gzip of zeros',
    () => gzipSync(zeros(20)),
    /no images in this archive|does not begin with a tar header/,
  ],
  ['a deflated bomb', deflatedBomb, /inflates to more than \d+ bytes/],
  [
    'a bomb that lies small',
    () => zip({ deflated: deflateRawSync(zeros(20)), size: 10 }),
    /damaged in the archive: expected 10 bytes, got more/,
  ],
  [
    'a bomb that lies large',
    () => zip({ deflated: deflateRawSync('abc'), size: 500_000_000 }),
    /more than deflate can hold/,
  ],
  ['overlapping entries', overlapping, /shares bytes with others; it may be a decompression bomb/],
  [
    'a zip in a zip',
    () => zip({ name: 'a.zip', content: makeZip([a]) }),
    /Archives within archives are not opened/,
  ],
  [
    'a tar in a tar',
    () => makeTar([{ name: 'a.tar', content: makeTar([a]) }]),
    /Archives within archives/,
  ],
  [
    'gzip in gzip',
    () => gzipSync(gzipSync(makeTar([a]))),
    /does not begin with a tar header|ends after/,
  ],
  // Ways out
  ['tar ../', () => makeTar([{ ...a, name: '../a.png' }]), /leads out of the archive/],
  ['tar deep ../', () => makeTar([{ ...a, name: 'x/../../a.png' }]), /leads out of the archive/],
  ['tar absolute', () => makeTar([{ ...a, name: '/a.png' }]), /absolute path/],
  ['tar drive', () => makeTar([{ ...a, name: 'C:../a.png' }]), /names a drive/],
  ['tar UNC', () => makeTar([{ ...a, name: '\\\\host\\share\\a.png' }]), /absolute path/],
  ['tar pax ../', () => concat(paxEntry({ path: '../../a.png' }), makeTar([a])), /leads out/],
  [
    'tar long name ../',
    () => makeTar([{ name: 'L', kind: 'L', content: '../a.png\0' }, a]),
    /leads out/,
  ],
  ['zip ../', () => zip({ name: '../a.png' }), /leads out of the archive/],
  ['zip ..\\', () => zip({ name: 'x\\..\\..\\a.png' }), /leads out of the archive/],
  ['zip absolute', () => zip({ name: '/a.png' }), /absolute path/],
  ['zip drive', () => zip({ name: 'c:\\a.png' }), /names a drive/],
  ['zip NUL', () => zip({ name: 'a.png\0.txt' }), /NUL in its name/],
  // Links, devices and the like
  [
    'tar symbolic link',
    () => makeTar([{ name: 'l.png', kind: '2', link: '/etc/passwd' }, a]),
    /symbolic link/,
  ],
  ['tar hard link', () => makeTar([{ name: 'l.png', kind: '1', link: '../../x' }, a]), /hard link/],
  ['tar device', () => makeTar([{ name: 'zero.png', kind: '3' }, a]), /character device/],
  ['tar pipe', () => makeTar([{ name: 'pipe.png', kind: '6' }, a]), /a pipe/],
  ['tar sparse', () => makeTar([{ name: 'a.png', kind: 'S', size: 1 }]), /sparse file/],
  ['zip link', () => zip({ mode: 0o120777 }), /symbolic link/],
  ['zip device', () => zip({ mode: 0o020666 }), /is a device/],
  ['zip encrypted', () => zip({ flags: 1, storedSize: 13 }), /"a.png" is encrypted/],
  ['zip AES', () => zip({ method: 99 }), /is encrypted/],
  ['zip LZMA', () => zip({ method: 14 }), /packed by method 14/],
  // Sizes and counts that are lies
  [
    'tar size beyond',
    () => makeTar([{ ...a, size: 8 ** 11 - 1 }]),
    /ends within a file|ends after/,
  ],
  ['tar size 2^62', () => makeTar([{ ...a, size: 2 ** 62 }]), /is no number/],
  ['tar size 2^53', () => makeTar([{ ...a, size: 2 ** 53 - 1 }]), /claims 9007199254740991 bytes/],
  [
    'tar size below zero',
    () => concat(sealed(tarEntry(a).fill(0xff, 124, 136)), tarEnd),
    /is no number/,
  ],
  ['tar pax size', () => concat(paxEntry({ size: '9007199254740991' }), makeTar([a])), /claims/],
  [
    'tar huge pax header',
    () => makeTar([{ name: 'x', kind: 'x', size: 2 ** 32 }]),
    /at most 1048576 are read/,
  ],
  ['gzip size beyond', () => gzipSync(makeTar([{ ...a, size: 2 ** 40 }])), /file is cut/],
  [
    'zip size beyond',
    () => zip({ size: 2 ** 32 - 2, storedSize: 2 ** 32 - 2 }),
    /beyond the end of the file/,
  ],
  ['zip offset beyond', () => zip({ offset: 2 ** 31 }), /beyond the end of the file/],
  ['zip header elsewhere', () => zip({ offset: 3 }), /its header is not where the directory says/],
  ['zip 1e6 entries claimed', () => zip64(1_000_000n, 0n), /cannot be read as a zip archive/],
  [
    'zip 1e12 entries claimed',
    () => zip64(1_000_000_000_000n, 0n),
    /claims 1000000000000 entries, at most 5000000/,
  ],
  ['zip directory beyond', () => zip64(5n, 2n ** 60n), /cannot be read as a zip archive/],
  ['zip 65,535 entries claimed', () => zip({}, 65_535), /cannot be read as a zip archive/],
  // Little or nothing
  ['nothing', () => '', /the file is empty/],
  ['an empty zip', () => makeZip([]), /no images in this archive/],
  ['an empty tar.gz', () => gzipSync(tarEnd), /no images in this archive/],
  ['names twice', () => makeTar([a, { ...a, content: 'b' }]), /has two files named "a.png"/],
]

describe('hostile archives', () => {
  it('are 50', () => expect(hostile).toHaveLength(50))

  it('are refused by name, in less than a second and little memory', async () => {
    const faults: string[] = []
    for (const [name, make, message] of hostile) {
      const path = join(folder, 'archive')
      await writeFile(path, make())
      const before = process.resourceUsage().maxRSS
      const usage = process.cpuUsage()
      const said = await outcomeOf(path)
      const { user, system } = process.cpuUsage(usage)
      if (!message.test(said)) faults.push(`${name}: ${said}`)
      if (user + system > 1e6) faults.push(`${name}: ${(user + system) / 1e6} s`)
      const grown = (process.resourceUsage().maxRSS - before) * 1024
      if (grown > 128 * 1024 * 1024) faults.push(`${name}: ${grown} bytes more`)
    }
    expect(faults).toEqual([])
  })
})

/** What is said of an archive, or of its one image. */
async function outcomeOf(path: string): Promise<string> {
  try {
    const contents: string[] = []
    for await (const { content } of (await openCollection(path)).read()) {
      contents.push('unreadable' in content ? content.unreadable : 'read')
    }
    return contents.join()
  } catch (error) {
    return error instanceof KeeplightError ? error.message : `untyped: ${String(error)}`
  }
}
