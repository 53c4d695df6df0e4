import { beforeAll, describe, expect, it } from 'vitest'
import { CONTEXT, Tokenizer } from '../../../src/model/text/tokenizer.ts'
import { errorOf } from '../../support/errorOf.ts'
import { describeGolden, readGoldenJson, readShared } from '../../support/golden.ts'

interface Case {
  readonly text: string
  readonly ids: readonly number[]
  readonly ids77: readonly number[]
}

describeGolden('Tokenizer', () => {
  let tokenizer: Tokenizer
  let cases: readonly Case[]
  beforeAll(async () => {
    tokenizer = await Tokenizer.fromBytes(
      await readShared('tokenizer/bpe_simple_vocab_16e6.txt.gz'),
    )
    cases = await readGoldenJson<Case[]>('tokenizer.json')
  })

  it('has the published vocabulary', () => {
    expect(tokenizer.size).toBe(49_408)
    expect([tokenizer.startToken, tokenizer.endToken]).toEqual([49_406, 49_407])
    expect(tokenizer.encode('!')).toEqual([49_406, 256, 49_407])
  })

  it("equals Hugging Face's fast tokenizer on every text", () => {
    expect(cases.length).toBeGreaterThan(50)
    for (const { text, ids } of cases) expect(tokenizer.encode(text), text).toEqual(ids)
  })

  it('cuts long texts as it does, keeping the end token', () => {
    const rows = tokenizer.tokenize(
      cases.map(({ text }) => text),
      { truncate: true },
    )
    expect(rows).toHaveLength(cases.length * CONTEXT)
    cases.forEach(({ text, ids77 }, i) => {
      const row = [...rows.subarray(i * CONTEXT, (i + 1) * CONTEXT)]
      expect(row.slice(0, ids77.length), text).toEqual(ids77)
      expect(new Set(row.slice(ids77.length - 1)), text).toEqual(new Set([49_407]))
    })
  })

  it('refuses a text that is too long, unless told to cut it', () => {
    const error = errorOf(() => tokenizer.tokenize(['a cat', 'word '.repeat(80)]))
    expect(error.code).toBe('input')
    expect(error.message).toContain('has 82 tokens, expected 77 at most')
    expect(() => tokenizer.tokenize(['word '.repeat(75)])).not.toThrow()
    expect(errorOf(() => tokenizer.tokenize(['a cat'], { context: 3 })).message).toContain(
      '"a cat" has 4 tokens, expected 3',
    )
  })
})

describe('Tokenizer of a file that is none', () => {
  it('names what is wrong', async () => {
    expect(errorOf(() => new Tokenizer('#version\na b\n')).message).toContain('line 3 is ""')
    expect(errorOf(() => new Tokenizer('#version\na b\nc')).message).toContain('line 3 is "c"')
    const many = `#version\n${'a b\n'.repeat(48_000)}`.trimEnd()
    expect(errorOf(() => new Tokenizer(many)).message).toContain('it has 48000 merges')
    const gzip = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0)
    await expect(Tokenizer.fromBytes(gzip)).rejects.toMatchObject({ code: 'format' })
  })
})
