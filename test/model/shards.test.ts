import { describe, expect, it } from 'vitest'
import { bufferSource, type ByteSource } from '../../src/model/byteSource.ts'
import { serializeSafetensors } from '../../src/model/safetensors.ts'
import {
  openShardedSafetensors,
  type SafetensorsSource,
} from '../../src/model/safetensorsSource.ts'
import { rejectionOf } from '../support/rejectionOf.ts'

const shard = (...values: [string, number][]): Uint8Array<ArrayBuffer> =>
  serializeSafetensors(
    Object.fromEntries(
      values.map(([name, value]) => [
        name,
        { dtype: 'F32', shape: [1], data: Float32Array.of(value) } as const,
      ]),
    ),
  )

const files: Record<string, Uint8Array<ArrayBuffer>> = {
  'model-00001-of-00002.safetensors': shard(['a', 1], ['b', 2]),
  'sub/model-00002-of-00002.safetensors': shard(['c', 3]),
}
const [first, second] = Object.keys(files) as [string, string]
const places = { c: second, a: first, b: first }

function open(
  index: unknown,
  given: Record<string, Uint8Array<ArrayBuffer>> = files,
): Promise<SafetensorsSource> & { readonly closed: string[] } {
  const closed: string[] = []
  const text = typeof index === 'string' ? index : JSON.stringify(index)
  const opening = openShardedSafetensors(text, async (file): Promise<ByteSource> => {
    if (!given[file]) throw new Error(`no ${file}`)
    const close = async (): Promise<void> => void closed.push(file)
    return { ...bufferSource(file, given[file]), close, sha256: undefined }
  })
  return Object.assign(opening, { closed })
}

describe('a checkpoint in several files', () => {
  it('has the tensors of all, in the order of files and data', async () => {
    const metadata = { total_size: 12, note: [null, -1.5e3, true] }
    const checkpoint = await open({ metadata, weight_map: places })
    expect([...checkpoint.tensors.keys()]).toEqual(['a', 'b', 'c'])
    expect(
      await Promise.all(['a', 'b', 'c'].map(async (name) => (await checkpoint.float32(name))[0])),
    ).toEqual([1, 2, 3])
    const streamed: string[] = []
    const progress: number[] = []
    const onProgress = ({ bytes, total }: { bytes: number; total: number }) => {
      progress.push(bytes)
      expect(total).toBe(8)
    }
    for await (const { name } of checkpoint.stream(['c', 'b'], { onProgress })) streamed.push(name)
    expect(streamed).toEqual(['b', 'c'])
    expect(progress).toEqual([0, 4, 8])
    expect(await checkpoint.hash(['b', 'c'])).toMatch(/^[0-9a-f]{64}$/)
    expect(await checkpoint.hash(['b', 'c'])).not.toBe(await checkpoint.hash(['b']))
    expect((await rejectionOf(checkpoint.tensor('d'))).message).toMatch(
      /no tensor "d"; it has 3, the first are a, b, c/,
    )
  })

  it('closes what it opened, and so does a failure', async () => {
    const opening = open({ weight_map: places })
    await (await opening).close()
    expect(opening.closed).toEqual([first, second])
    const failing = open({ weight_map: { ...places, d: first } })
    await rejectionOf(failing)
    expect(failing.closed.sort()).toEqual([first, second])
  })

  it.each([
    ['a name that leads out of the folder', { a: '../x' }, /"a" lies in "..\/x"/],
    ['one that leads out from within', { a: 'x/../../y' }, /lies in "x\/..\/..\/y"/],
    ['an absolute name', { a: '/etc/passwd' }, /lies in "\/etc\/passwd"/],
    ['an address', { a: 'https://host/x' }, /lies in "https:/],
    ['a drive', { a: 'C:x' }, /lies in "C:x"/],
    ['separators of Windows', { a: '..\\x' }, /lies in/],
    ['an escape', { a: '%2e%2e/x' }, /lies in/],
    ['no name', { a: '' }, /lies in ""/],
    ['a number', { a: 3 }, /lies in 3/],
    ['nothing', {}, /0 tensors, expected 1 to 20000/],
  ])('refuses %s', async (_, map, message) => {
    const error = await rejectionOf(open({ weight_map: map }))
    expect(error.code).toBe('format')
    expect(error.message).toMatch(message)
  })

  it.each([
    ['no JSON', '{"weight_map":', /not valid JSON/],
    ['no map', '{"a":1}', /expected an object "weight_map"/],
    ['an array', '[]', /expected an object "weight_map"/],
    ['a map that is an array', '{"weight_map":["x"]}', /expected an object "weight_map"/],
    ['a tensor twice', '{"weight_map":{"a":"x","a":"y"}}', /the key "a" twice/],
    ['a __proto__ key', '{"weight_map":{"__proto__":"x"}}', /"__proto__" key/],
  ])('refuses an index with %s', async (_, text, message) => {
    const error = await rejectionOf(open(text))
    expect(error.code).toBe('format')
    expect(error.message).toMatch(message)
  })

  it('names tensors that do not lie where the index says', async () => {
    const missing = Object.fromEntries(Array.from({ length: 23 }, (_, i) => [`gone${i}`, first]))
    const { message } = await rejectionOf(open({ weight_map: { ...places, ...missing } }))
    expect(message).toMatch(/23 in no file though the index lists them: "gone0" \(model-0/)
    expect(message).toMatch(/"gone19".* and 3 more/)
    expect(message).not.toContain('gone20')

    const moved = await rejectionOf(open({ weight_map: { ...places, c: first } }, { ...files }))
    // No file is left that could have it.
    expect(moved.message).toMatch(/1 in no file though the index lists them: "c"/)
    const swapped = { a: second, b: first, c: second }
    expect((await rejectionOf(open({ weight_map: swapped }))).message).toMatch(
      /1 in another file than the index says: "a" \(model-00001.*, not sub/,
    )
    const twice = { ...files, [second]: shard(['a', 1], ['c', 3]) }
    expect((await rejectionOf(open({ weight_map: places }, twice))).message).toMatch(
      /1 in two files: "a" \(model-00001-of-00002.safetensors and sub/,
    )
    const more = { ...files, [second]: shard(['c', 3], ['d', 4]) }
    expect((await rejectionOf(open({ weight_map: places }, more))).message).toMatch(
      /1 in a file but not in the index: "d"/,
    )
  })

  it('passes on what is wrong with a file', async () => {
    const damaged = { ...files, [second]: files[second]!.slice(0, -1) }
    const error = await rejectionOf(open({ weight_map: places }, damaged))
    expect(error.message).toMatch(/^sub\/model.*describes a file of/)
  })
})
