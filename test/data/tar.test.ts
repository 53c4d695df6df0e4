import { describe, expect, it } from 'vitest'
import { TarParser, type TarEntry } from '../../src/data/tar.ts'
import { archiveLimits } from '../../src/data/limits.ts'
import { errorOf } from '../support/errorOf.ts'
import { concat, makeTar, paxEntry, sealed, tarEnd, tarEntry } from '../support/archives.ts'

/** What a parser tells of an archive that is pushed in pieces of `step` bytes. */
function parse(bytes: Uint8Array, step = bytes.length, limits = archiveLimits) {
  const files: { name: string; size: number; offset: number; text: string }[] = []
  const decoder = new TextDecoder()
  let open: (TarEntry & { text: string }) | undefined
  const parser = new TarParser(
    'test.tar',
    {
      entry: (entry) => {
        open = { ...entry, text: '' }
        return true
      },
      data: (part) => (open!.text += decoder.decode(part)),
      end: () => files.push({ ...open! }),
    },
    limits,
  )
  for (let at = 0; at < bytes.length; at += step) parser.push(bytes.subarray(at, at + step))
  parser.finish()
  return files
}

const refusal = (bytes: Uint8Array, limits = archiveLimits) =>
  errorOf(() => parse(bytes, 512, limits))

describe('TarParser', () => {
  const long = `${'folder/'.repeat(30)}é.png`
  const archive = concat(
    tarEntry({ name: './', kind: '5' }),
    tarEntry({ name: './a.png', content: 'first' }),
    tarEntry({ name: 'empty.png' }),
    tarEntry({ name: 'b.png', prefix: 'deep/er', content: 'x'.repeat(512) }),
    paxEntry({ comment: 'for all' }, 'g'),
    paxEntry({ path: long, mtime: '1.5' }),
    tarEntry({ name: 'cut short', content: 'y'.repeat(700) }),
    tarEntry({ name: '././@LongLink', kind: 'L', content: `${long}2\0` }),
    tarEntry({ name: 'cut short', kind: '\0', content: 'z' }),
    tarEntry({ name: 'label', kind: 'V' }),
    tarEnd,
    'anything after the end',
  )

  it.each([1, 7, 511, 512, 513, 4096, 1 << 20])('reads pieces of %i bytes', (step) => {
    expect(parse(archive, step).map(({ name, text }) => [name, text])).toEqual([
      ['a.png', 'first'],
      ['empty.png', ''],
      ['deep/er/b.png', 'x'.repeat(512)],
      [long, 'y'.repeat(700)],
      [`${long}2`, 'z'],
    ])
  })

  it('tells where each file lies', () => {
    const decoder = new TextDecoder()
    for (const { offset, size, text } of parse(archive)) {
      expect(decoder.decode(archive.subarray(offset, offset + size))).toBe(text)
    }
  })

  it('skips what nobody asks for', () => {
    const names: string[] = []
    const entry = ({ name }: TarEntry): boolean => names.push(name) < 0
    const parser = new TarParser('test.tar', { entry })
    const large = makeTar([
      { name: 'a', content: new Uint8Array(10_000) },
      { name: 'b', content: 'x' },
    ])
    for (let pushed = 0; !parser.ended;) {
      parser.skip()
      pushed = parser.position
      parser.push(large.subarray(pushed, pushed + 512))
    }
    expect(names).toEqual(['a', 'b'])
  })

  it('takes sizes in base 256 and in pax headers', () => {
    const header = tarEntry({ name: 'a', content: 'abc', size: 8 ** 11 })
    header.fill(0, 125, 136)
    header[135] = 3
    const pax = concat(paxEntry({ size: '3' }), tarEntry({ name: 'b', content: 'def', size: 0 }))
    expect(parse(concat(sealed(header), pax, tarEnd)).map(({ text }) => text)).toEqual([
      'abc',
      'def',
    ])
  })

  it.each([
    ['an absolute path', { name: '/etc/passwd.png' }, 'has an absolute path'],
    ['a way out', { name: 'a/../../b.png' }, 'leads out of the archive by ".."'],
    ['a way out for Windows', { name: 'a\\..\\b.png' }, 'leads out of the archive by ".."'],
    ['a drive', { name: 'C:../b.png' }, 'names a drive'],
    ['a hard link', { name: 'b.png', kind: '1', link: 'a.png' }, 'is a hard link'],
    ['a symbolic link', { name: 'b.png', kind: '2', link: '/etc' }, 'is a symbolic link'],
    ['a character device', { name: 'b', kind: '3' }, 'is a character device'],
    ['a block device', { name: 'b', kind: '4' }, 'is a block device'],
    ['a pipe', { name: 'b', kind: '6' }, 'is a pipe'],
    ['a sparse file', { name: 'b', kind: 'S' }, 'is a sparse file'],
    ['an unknown kind', { name: 'b', kind: 'Q' }, 'is of an unknown kind ("Q")'],
    ['no name', { name: '' }, 'has no name'],
  ])('refuses %s', (_, item, message) => {
    expect(refusal(makeTar([item]))).toMatchObject({
      code: 'input',
      message: expect.stringContaining(message),
    })
  })

  it.each([
    ['no header', 'this is no archive'.repeat(40), 'does not begin with a tar header'],
    ['nothing', '', 'ends after 0 bytes'],
    ['a cut', makeTar([{ name: 'a', content: 'abc' }]).subarray(0, 600), 'the file is cut'],
    ['a cut at a header', tarEntry({ name: 'a', content: 'abc' }), 'the file is cut'],
    [
      'a negative size',
      sealed(tarEntry({ name: 'a' }).fill(0xff, 124, 136)),
      'the size in the header at byte 0 is no number',
    ],
    [
      'a size beyond all files',
      makeTar([{ name: 'a', size: Number.MAX_SAFE_INTEGER }]),
      'claims 9007199254740991 bytes',
    ],
    [
      'a huge extended header',
      makeTar([{ name: 'a', kind: 'x', size: 2 ** 30 }]),
      'at most 1048576 are read',
    ],
    [
      'a damaged pax header',
      makeTar([{ name: 'a', kind: 'x', content: '99 path=b\n' }]),
      'damaged',
    ],
    ['pax without a length', makeTar([{ name: 'a', kind: 'x', content: 'path=b\n' }]), 'damaged'],
    [
      'a pax size that is none',
      concat(paxEntry({ size: '-3' }), makeTar([{ name: 'a' }])),
      'no sound size',
    ],
    [
      'a sparse pax file',
      concat(paxEntry({ 'GNU.sparse.major': '1' }), makeTar([{ name: 'a' }])),
      'sparse file',
    ],
    [
      'a way out by pax',
      concat(paxEntry({ path: '../a' }), makeTar([{ name: 'a' }])),
      'leads out of the archive',
    ],
  ])('refuses %s', (_, content, message) => {
    expect(refusal(concat(content))).toMatchObject({
      code: 'input',
      message: expect.stringContaining(message),
    })
  })

  it('names the damaged header', () => {
    const bytes = makeTar([{ name: 'a', content: 'x' }, { name: 'b' }])
    bytes[1024 + 130]! ^= 1
    expect(refusal(bytes)).toMatchObject({
      message: expect.stringContaining('the header at byte 1024 is damaged (wrong checksum)'),
    })
  })

  it('stops at the limits', () => {
    const many = makeTar([{ name: 'a' }, { name: 'b' }, { name: 'c' }])
    expect(parse(many, 512, { ...archiveLimits, entries: 3 })).toHaveLength(3)
    expect(refusal(many, { ...archiveLimits, entries: 2 })).toMatchObject({
      message: expect.stringContaining('has more than 2 entries'),
    })
    expect(refusal(many, { ...archiveLimits, nameBytes: 0 })).toMatchObject({
      message: expect.stringContaining('has a name of more than 0 bytes'),
    })
  })
})
