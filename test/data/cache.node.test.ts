import { appendFileSync, readdirSync, statSync, truncateSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FeatureCache, FileIndex, defaultCacheFolder } from '../../src/data/cache.node.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-cache-'))
})
afterEach(() => rm(folder, { recursive: true }))

const preprocess = { size: 64, resize: 64, mean: [0, 0, 0], std: [1, 1, 1] } as const
const base = { model: 'abc', preprocess, views: 1, seed: 0, dimension: 3, rawBytes: 12 }
const openCache = (changes: Partial<typeof base> = {}): FeatureCache =>
  new FeatureCache({ folder, ...base, ...changes })

const hash = (i: number): string => i.toString(16).padStart(64, '0')
const record = (i: number) => ({
  features: Float32Array.from([i, 0.1, -2, 3e30, i / 7, NaN]),
  raw: Uint8Array.from({ length: 12 }, (_, j) => i + j),
})

function segments(): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.features'))
    .map((name) => join(folder, name))
}

describe('FeatureCache', () => {
  it('gives back the same bytes, before and after a flush and in the next run', () => {
    const first = openCache()
    first.put(hash(1), record(1))
    expect(first.get(hash(1))).toEqual(record(1))
    first.flush()
    first.put(hash(2), record(2))
    first.flush()
    expect(first.get(hash(1))).toEqual(record(1))
    first.close()
    const second = openCache()
    expect([...second.hashes()].sort()).toEqual([hash(1), hash(2)])
    expect(second.get(hash(2))).toEqual(record(2))
    expect(second.get(hash(3))).toBeUndefined()
    expect(second.size).toEqual({ records: 2, bytes: statSync(segments()[0]).size })
    second.close()
  })

  it.each([
    ['another model', { model: 'abd' }],
    ['other preprocessing', { preprocess: { ...preprocess, resize: 73 } as never }],
    ['other views', { views: 2 }],
    ['another seed', { seed: 1 }],
    ['another dimension', { dimension: 4 }],
  ])('keeps %s apart', (_, changes) => {
    const cache = openCache()
    cache.put(hash(1), record(1))
    cache.flush()
    cache.close()
    const other = openCache(changes)
    expect(other.get(hash(1))).toBeUndefined()
    other.close()
  })

  it('skips a record that a kill tore, at every length, and keeps those before', () => {
    const cache = openCache()
    cache.put(hash(1), record(1))
    cache.put(hash(2), record(2))
    cache.flush()
    cache.close()
    const [path] = segments()
    const length = 32 + 24 + 12 + 8
    const whole = statSync(path).size
    for (let cut = 1; cut <= length; cut++) {
      truncateSync(path, whole - cut)
      const reopened = openCache()
      expect(reopened.get(hash(1))).toEqual(record(1))
      expect(reopened.get(hash(2))).toBeUndefined()
      reopened.close()
    }
    truncateSync(path, 5) // in the header
    const empty = openCache()
    expect(empty.size.records).toBe(0)
    empty.close()
  })

  it('rejects a record with one flipped bit', async () => {
    const cache = openCache()
    cache.put(hash(1), record(1))
    cache.flush()
    cache.close()
    const [path] = segments()
    const file = await open(path, 'r+')
    const position = statSync(path).size - 30
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, position)
    await file.write(Buffer.from([buffer[0] ^ 4]), 0, 1, position)
    await file.close()
    const reopened = openCache()
    expect(reopened.hashes().has(hash(1))).toBe(true)
    expect(reopened.get(hash(1))).toBeUndefined()
    expect(reopened.hashes().has(hash(1))).toBe(false)
    reopened.close()
  })

  it('lets two runs write side by side', () => {
    const [one, two] = [openCache(), openCache()]
    for (let i = 0; i < 10; i++) {
      one.put(hash(i), record(i))
      two.put(hash(i + 5), record(i + 5))
      one.flush()
      two.flush()
    }
    one.close()
    two.close()
    expect(segments()).toHaveLength(2)
    const both = openCache()
    for (let i = 0; i < 15; i++) expect(both.get(hash(i))).toEqual(record(i))
    both.close()
  })

  it('refuses a record of the wrong size', () => {
    const cache = openCache()
    expect(() => cache.put(hash(1), { ...record(1), raw: new Uint8Array(3) })).toThrow(RangeError)
    cache.close()
  })
})

describe('FileIndex', () => {
  const stamp = { size: 10, mtimeMs: 1_700_000_000_000.25 }

  it('knows a file while its size and time stay the same', () => {
    const index = new FileIndex(folder, '/photos')
    index.remember('a "b"\n.jpg', stamp, hash(1))
    index.flush()
    index.close()
    const next = new FileIndex(folder, '/photos')
    expect(next.lookup('a "b"\n.jpg', stamp)).toBe(hash(1))
    expect(next.lookup('a "b"\n.jpg', { ...stamp, size: 11 })).toBeUndefined()
    expect(next.lookup('a "b"\n.jpg', { ...stamp, mtimeMs: 1 })).toBeUndefined()
    expect(next.lookup('other.jpg', stamp)).toBeUndefined()
    expect(new FileIndex(folder, '/other').lookup('a "b"\n.jpg', stamp)).toBeUndefined()
  })

  it('skips a torn or foreign line', () => {
    const index = new FileIndex(folder, '/photos')
    index.remember('a.jpg', stamp, hash(1))
    index.flush()
    index.close()
    const [name] = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.jsonl'),
    )
    appendFileSync(join(folder, name), '{"x":1}\n["b.jpg","10",1,"aa"]\n["c.jpg",10,17000')
    const next = new FileIndex(folder, '/photos')
    expect(next.lookup('a.jpg', stamp)).toBe(hash(1))
    expect(next.lookup('b.jpg', { size: 10, mtimeMs: 1 })).toBeUndefined()
  })
})

describe('defaultCacheFolder', () => {
  it.each([
    [{ KEEPLIGHT_CACHE: '/c', XDG_CACHE_HOME: '/x' }, '/c'],
    [{ XDG_CACHE_HOME: '/x' }, '/x/keeplight'],
    [{ KEEPLIGHT_CACHE: '', XDG_CACHE_HOME: '' }, join(homedir(), '.cache/keeplight')],
  ])('of %j', (env, expected) => {
    expect(defaultCacheFolder(env)).toBe(expected)
  })
})
