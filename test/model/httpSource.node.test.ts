import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { httpSource } from '../../src/model/byteSource.ts'
import { openSafetensors } from '../../src/model/safetensorsSource.ts'
import { serializeSafetensors } from '../../src/model/safetensors.ts'
import { randomBits } from '../../src/kernels/random.ts'
import { rejectionOf } from '../support/rejectionOf.ts'
import { expectSameBytes } from '../support/sameBytes.ts'
import { serveRanges, type RangeServer } from '../support/rangeServer.node.ts'

const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => randomBits(3, 1, i))
const quick = { waitMs: 1, stallMs: 2000 }

let server: RangeServer
let other: RangeServer
beforeAll(async () => {
  server = await serveRanges()
  other = await serveRanges()
})
afterAll(async () => {
  await server.close()
  await other.close()
})
beforeEach(() => {
  for (const each of [server, other]) {
    each.requests.length = 0
    each.faults.length = 0
    each.redirects.clear()
    each.files.clear()
    each.files.set('/file', bytes)
    each.sent = 0
    each.ignoresRange = false
    each.etag = '"one"'
  }
})

const open = (options = {}) =>
  httpSource(`${server.url}/file?token=secret`, { ...quick, ...options })

describe('an address with Range', () => {
  beforeEach(() => server.files.set('/file?token=secret', bytes))

  it('is read by ranges, the head once, without compression', async () => {
    const source = await open()
    expect(source.size).toBe(bytes.length)
    expect(source.name).toBe(`${server.url}/file`)
    expectSameBytes(await source.read(10, 20), bytes.slice(10, 20))
    expectSameBytes(await source.read(200_000, 300_000), bytes.slice(200_000))
    expectSameBytes(await source.read(65_000, 66_000), bytes.slice(65_000, 66_000))
    expectSameBytes(await source.read(7, 7), new Uint8Array(0))
    expect(server.requests.map(({ range }) => range)).toEqual([
      'bytes=0-65535',
      'bytes=200000-299999',
      'bytes=65536-65999',
    ])
    // Node adds one of its own where there is a range.
    for (const { headers } of server.requests) {
      expect(headers['accept-encoding']).toMatch(/^identity(, identity)?$/)
    }
    expect((await rejectionOf(source.read(0, 300_001))).message).toMatch(/bytes 0 to 300001/)
  })

  it('goes on where a connection was cut, and gives up after attempts that bring nothing', async () => {
    const source = await open()
    server.faults.push({ cutAfter: 70_000 }, { status: 503 }, { cutAfter: 0 }, { cutAfter: 50_000 })
    expectSameBytes(await source.read(100_000, 300_000), bytes.slice(100_000))
    const ranges = server.requests.slice(1).map(({ range }) => range)
    expect(ranges).toHaveLength(5)
    expect(ranges.slice(1, 4)).toEqual(Array(3).fill('bytes=170000-299999'))
    expect(ranges[4]).toBe('bytes=220000-299999')
    server.faults.push(...Array(5).fill({ status: 500 }))
    const error = await rejectionOf(source.read(100_000, 300_000))
    expect(error.code).toBe('input')
    expect(error.message).toMatch(
      /\/file: it can't be read: the server answered 500, after 5 attempts/,
    )
    expect(error.message).not.toContain('secret')
  })

  it('takes a server that sends nothing for one that was cut', async () => {
    const source = await open({ stallMs: 100 })
    server.faults.push({ stallMs: 1000 })
    expectSameBytes(await source.read(100_000, 300_000), bytes.slice(100_000))
    server.faults.push(...Array(2).fill({ stallMs: 1000 }))
    const slow = await httpSource(`${server.url}/file`, {
      waitMs: 1,
      stallMs: 100,
      retries: 1,
    }).catch((error: unknown) => error)
    expect(String(slow)).toMatch(/nothing came for 0.1 s, after 2 attempts/)
  })

  it.each([
    [401, /answered 401. Does it need a token/],
    [404, /answered 404. Check the address/],
    [416, /answered 416. The file is shorter/],
    [418, /answered 418. Get the file from another address/],
  ])('is refused at once with %i', async (status, message) => {
    const source = await open()
    server.faults.push({ status })
    const error = await rejectionOf(source.read(100_000, 100_001))
    expect(error.code).toBe('input')
    expect(error.message).toMatch(message)
    expect(server.requests).toHaveLength(2)
  })

  it('refuses answers that are not what was asked for', async () => {
    const source = await open()
    const read = (fault: object): Promise<string> => {
      server.faults.push(fault)
      return rejectionOf(source.read(100_000, 200_000)).then(({ message }) => message)
    }
    expect(await read({ contentRange: 'bytes 0-99999/300000' })).toMatch(
      /answered with bytes 0 to 100000/,
    )
    expect(await read({ contentRange: 'bytes 100000-199999/300001' })).toMatch(/was changed/)
    expect(await read({ contentRange: 'bytes 100000-199999/*' })).toMatch(/Content-Range "bytes/)
    expect(await read({ contentRange: 'nonsense' })).toMatch(/206 with Content-Range "nonsense"/)
    expect(await read({ tooMany: 3 })).toMatch(/sent more than the bytes 100000 to 200000/)
    expect(await read({ headers: { 'content-encoding': 'gzip' } })).toMatch(
      /compresses it \(gzip\)/,
    )
    server.etag = '"two"'
    expect(await read({})).toMatch(/was changed while it was read/)
  })

  it('stops by its signal, at once and while bytes come', async () => {
    const source = await open()
    const error = await rejectionOf(source.read(0, 1, AbortSignal.abort()))
    expect(error.code).toBe('aborted')
    const controller = new AbortController()
    server.faults.push({ stallMs: 5000 })
    const running = source.read(100_000, 300_000, controller.signal)
    setTimeout(() => controller.abort(), 30)
    expect((await rejectionOf(running)).code).toBe('aborted')
    expect((await rejectionOf(open({ signal: AbortSignal.abort() }))).code).toBe('aborted')
  })

  it('is an empty file where the server says so, and refused where it is no address', async () => {
    server.files.set('/empty', new Uint8Array(0))
    expect((await httpSource(`${server.url}/empty`, quick)).size).toBe(0)
    expect((await rejectionOf(httpSource('ftp://x/y'))).message).toMatch(/ftp: can't be read/)
    expect((await rejectionOf(httpSource('not an address'))).code).toBe('input')
    expect((await rejectionOf(httpSource('https://me:pass@host/x'))).message).not.toContain('pass')
    const closed = await serveRanges()
    await closed.close()
    const refused = await rejectionOf(httpSource(`${closed.url}/x`, { ...quick, retries: 1 }))
    expect(refused.message).toMatch(/can't be read: .*after 2 attempts/)
  })
})

describe('redirects', () => {
  it('are followed, and headers go to the first origin alone', async () => {
    server.redirects.set('/a', '/b')
    server.redirects.set('/b', `${other.url}/c`)
    other.redirects.set('/c', `${server.url}/file`)
    const headers = { authorization: 'Bearer secret', 'x-token': 'secret' }
    const source = await httpSource(`${server.url}/a`, { ...quick, headers })
    expectSameBytes(await source.read(100_000, 100_100), bytes.slice(100_000, 100_100))
    const tokens = (requests: RangeServer['requests']) =>
      requests.map(({ path, headers }) => [path, headers.authorization, headers['x-token']])
    const once = [
      ['/a', 'Bearer secret', 'secret'],
      ['/b', 'Bearer secret', 'secret'],
      // It came back by way of another host, which may have chosen where to.
      ['/file', undefined, undefined],
    ]
    expect(tokens(server.requests)).toEqual([...once, ...once])
    expect(tokens(other.requests)).toEqual(Array(2).fill(['/c', undefined, undefined]))
    expect(other.requests.every(({ range }) => range !== undefined)).toBe(true)
  })

  it('end somewhere, on http, and headers are never sent in the clear', async () => {
    server.redirects.set('/loop', '/loop')
    const headers = { authorization: 'x' }
    const looping = await rejectionOf(httpSource(`${server.url}/loop`, { ...quick, headers }))
    expect(looping.message).toMatch(/redirects more than 5 times/)
    server.redirects.set('/out', 'file:///etc/passwd')
    const out = await rejectionOf(httpSource(`${server.url}/out`, { ...quick, headers }))
    expect(out.message).toMatch(/redirects to file:/)
    const clear = await rejectionOf(httpSource('http://example.org/x', { headers }))
    expect(clear.message).toMatch(/plain http/)
  })
})

describe('a server without Range', () => {
  it('is read forwards once, and again for what lies behind', async () => {
    server.ignoresRange = 'length'
    const source = await httpSource(`${server.url}/file`, quick)
    expect(source.size).toBe(bytes.length)
    const [first, second] = await Promise.all([source.read(0, 8), source.read(8, 1000)])
    expectSameBytes(first, bytes.slice(0, 8))
    expectSameBytes(second, bytes.slice(8, 1000))
    expectSameBytes(await source.read(150_000, 250_000), bytes.slice(150_000, 250_000))
    expect(server.requests).toHaveLength(1)
    expectSameBytes(await source.read(5, 10), bytes.slice(5, 10))
    expect(server.requests).toHaveLength(2)
    await source.close?.()
    expectSameBytes(await source.read(299_999, 300_000), bytes.slice(299_999))
    await source.close?.()
  })

  it('starts again after a cut', async () => {
    server.ignoresRange = 'length'
    server.faults.push({ cutAfter: 100_000 }, { cutAfter: 200_000 })
    const source = await httpSource(`${server.url}/file`, quick)
    expectSameBytes(await source.read(50_000, 290_000), bytes.slice(50_000, 290_000))
    expect(server.requests).toHaveLength(3)
    await source.close?.()
  })

  it('stops by the signal of a read, and can be read again', async () => {
    server.ignoresRange = 'length'
    server.faults.push({ stallMs: 3000 })
    const source = await httpSource(`${server.url}/file`, quick)
    const controller = new AbortController()
    const running = source.read(0, 300_000, controller.signal)
    setTimeout(() => controller.abort(), 30)
    expect((await rejectionOf(running)).code).toBe('aborted')
    expectSameBytes(await source.read(0, 300_000), bytes)
    await source.close?.()
  })

  it('is read whole where it does not tell the length', async () => {
    server.ignoresRange = 'chunked'
    const source = await httpSource(`${server.url}/file`, quick)
    expectSameBytes(await source.read(0, 300_000), bytes)
    expect(server.requests).toHaveLength(1)
  })
})

describe('a weight file behind an address', () => {
  // More than the gap that a request reads over lies between the tensors that are asked for.
  const f32 = (size: number, value: number) =>
    ({ dtype: 'F32', shape: [size], data: new Float32Array(size).fill(value) }) as const
  const file = serializeSafetensors({
    'a.text': f32(100_000, 1),
    'b.vision': f32(1000, 2),
    'c.vision': f32(50_000, 3),
    'd.text': f32(4_000_000, 4),
  })

  it.each(['ranges', 'one body'])('sends what is asked for, by %s', async (how) => {
    server.files.set('/weights', file)
    server.ignoresRange = how === 'ranges' ? false : 'length'
    const checkpoint = await openSafetensors(await httpSource(`${server.url}/weights`, quick))
    const progress: number[] = []
    const found: [string, number][] = []
    const options = { onProgress: ({ bytes }: { bytes: number }) => void progress.push(bytes) }
    for await (const { name, bytes } of checkpoint.stream(['c.vision', 'b.vision'], options)) {
      found.push([name, new Float32Array(bytes.buffer).reduce((sum, x) => sum + x, 0)])
    }
    await checkpoint.close()
    expect(found).toEqual([
      ['b.vision', 2000],
      ['c.vision', 150_000],
    ])
    expect(progress).toEqual([0, 204_000])
    expect(server.requests).toHaveLength(how === 'ranges' ? 2 : 1)
    if (how === 'ranges') expect(server.sent).toBe(65_536 + 204_000)
    else expect(server.sent).toBeLessThan(file.length)
  })

  it('has the same hash however its bytes came', async () => {
    server.files.set('/weights', file)
    const hashes: string[] = []
    for (const mode of [false, 'length', 'chunked'] as const) {
      server.ignoresRange = mode
      const checkpoint = await openSafetensors(await httpSource(`${server.url}/weights`, quick))
      for await (const tensor of checkpoint.stream(['c.vision', 'b.vision'])) void tensor
      hashes.push(await checkpoint.hash(['b.vision', 'c.vision']))
      await checkpoint.close()
    }
    expect(hashes[0]).toMatch(/^[0-9a-f]{64}$/)
    expect(new Set(hashes).size).toBe(1)
  })
})
