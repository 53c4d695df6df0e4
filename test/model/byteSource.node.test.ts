import { mkdtemp, open, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fileSource } from '../../src/model/byteSource.node.ts'
import { openSafetensors } from '../../src/model/safetensorsSource.ts'
import { rejectionOf } from '../support/rejectionOf.ts'
import { expectSameBytes } from '../support/sameBytes.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-source-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('a file', () => {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 255)

  it('is read at positions, hashed, and opened again after it was closed', async () => {
    const path = join(folder, 'some file')
    await writeFile(path, bytes)
    for (const given of [path, pathToFileURL(path)]) {
      const source = await fileSource(given)
      expect(source.size).toBe(5000)
      const parts = await Promise.all([
        source.read(0, 10),
        source.read(4990, 5000),
        source.read(3, 3),
      ])
      expectSameBytes(parts[0], bytes.slice(0, 10))
      expectSameBytes(parts[1], bytes.slice(4990))
      expect(parts[2].length).toBe(0)
      expect(await source.sha256!()).toBe(createHash('sha256').update(bytes).digest('hex'))
      await source.close!()
      expectSameBytes(await source.read(1, 5), bytes.slice(1, 5))
      await source.close!()
      await source.close!()
      expect((await rejectionOf(source.read(0, 5001))).message).toMatch(/bytes 0 to 5001.*has 5000/)
      expect((await rejectionOf(source.read(0, 1, AbortSignal.abort()))).code).toBe('aborted')
    }
  })

  it('is refused where it is missing, a folder, cut short or changed', async () => {
    const missing = await rejectionOf(fileSource(join(folder, 'missing')))
    expect(missing.code).toBe('input')
    expect(missing.message).toMatch(/missing: there is no such file; give the path/)
    expect((await rejectionOf(fileSource(folder))).message).toMatch(/no file/)
    const path = join(folder, 'changing')
    await writeFile(path, bytes)
    const source = await fileSource(path)
    await truncate(path, 100)
    expect((await rejectionOf(source.read(50, 200))).message).toMatch(
      /ends at byte 100, it had 5000/,
    )
    await source.close!()
    expect((await rejectionOf(source.read(0, 1))).message).toMatch(
      /changed since it was first read/,
    )
    await writeFile(path, bytes)
    await utimes(path, 1, 1)
    expect((await rejectionOf(source.read(0, 1))).message).toMatch(/changed since/)
  })
})

it('reads the last tensor of a file over 2 GiB, and its header, without the rest', async () => {
  const path = join(folder, 'large.safetensors')
  const large = 2 ** 31 + 2 ** 20
  const header = JSON.stringify({
    large: { dtype: 'U8', shape: [large], data_offsets: [0, large] },
    last: { dtype: 'F32', shape: [3], data_offsets: [large, large + 12] },
  })
  const start = 8 + header.length
  const file = await open(path, 'w')
  const length = new Uint8Array(8)
  new DataView(length.buffer).setUint32(0, header.length, true)
  await file.write(length, 0, 8, 0)
  await file.write(header, 8)
  await file.write(new Uint8Array(Float32Array.of(1.5, -2, 3).buffer), 0, 12, start + large)
  await file.close()
  const source = await fileSource(path)
  expect(source.size).toBe(start + large + 12)
  const checkpoint = await openSafetensors(source)
  expect([...(await checkpoint.float32('last'))]).toEqual([1.5, -2, 3])
  for await (const { name, bytes } of checkpoint.stream(['last'])) {
    expect([name, ...new Float32Array(bytes.buffer)]).toEqual(['last', 1.5, -2, 3])
  }
  await checkpoint.close()
})
