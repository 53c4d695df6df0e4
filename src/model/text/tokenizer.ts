import { KeeplightError } from '../../runtime/errors.ts'

/** Tokens that a CLIP text tower sees at once. */
export const CONTEXT = 77

const START = '<|startoftext|>'
const END = '<|endoftext|>'
/** Marks the last symbol of a word. */
const WORD_END = '</w>'
/** Merges that the published models use; the file goes on past them. */
const MERGES = 48_894

/**
 * Words of a text: contractions, runs of letters, single digits, runs of anything else. The special
 * tokens are words of their own. Unicode's white space, since JavaScript's `\s` is another set.
 */
const WORD =
  /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu

export interface TokenizeOptions {
  /** Length of a row. Default {@link CONTEXT}. */
  readonly context?: number
  /** Cuts a text that is too long, keeping its end token; without it such a text is refused. Default false. */
  readonly truncate?: boolean
}

/**
 * CLIP's byte-level BPE tokenizer (Radford et al. 2021; byte-pair encoding by Sennrich et al. 2016):
 * lower-case, 49,408 tokens. Its ids equal those of Hugging Face's fast CLIP tokenizer.
 */
export class Tokenizer {
  readonly #ids = new Map<string, number>()
  readonly #ranks = new Map<string, number>()
  readonly #bytes: readonly string[]
  /** Ids of words seen before; a vocabulary of prompts repeats the same few. */
  readonly #words = new Map<string, readonly number[]>()

  /**
   * @param merges text of OpenAI's `bpe_simple_vocab_16e6.txt`: a version line, then a pair of symbols a line
   * @throws KeeplightError `format` when it is not that file
   */
  constructor(merges: string) {
    const lines = merges.split('\n').slice(1, MERGES + 1)
    const pairs = lines.map((line) => line.trimEnd().split(' '))
    const wrong = pairs.findIndex((pair) => pair.length !== 2 || pair.includes(''))
    if (lines.length < MERGES || wrong >= 0) {
      const what =
        wrong >= 0
          ? `line ${wrong + 2} is ${JSON.stringify(lines[wrong])}`
          : `it has ${lines.length} merges`
      throw new KeeplightError(
        'format',
        `tokenizer: expected ${MERGES} merges of two symbols, one a line after the first; ${what}. ` +
          `Give the text of OpenAI's bpe_simple_vocab_16e6.txt`,
      )
    }
    this.#bytes = byteSymbols()
    // The vocabulary's order: printable bytes first, as the original lists them.
    const symbols = [...this.#bytes].sort((a, b) => orderOf(a) - orderOf(b))
    const vocabulary = [...symbols, ...symbols.map((symbol) => symbol + WORD_END)]
    pairs.forEach((pair, rank) => {
      this.#ranks.set(pair.join(' '), rank)
      vocabulary.push(pair.join(''))
    })
    vocabulary.push(START, END)
    vocabulary.forEach((symbol, id) => this.#ids.set(symbol, id))
    for (const special of [START, END]) this.#words.set(special, [this.#ids.get(special)!])
  }

  /**
   * Reads what comes with a model: OpenAI's `bpe_simple_vocab_16e6.txt`, gzipped or not, or Hugging
   * Face's `merges.txt` or `tokenizer.json`.
   *
   * @throws KeeplightError `format` when it is none of these
   */
  static async fromBytes(bytes: Uint8Array<ArrayBuffer>): Promise<Tokenizer> {
    const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b
    if (!gzipped) return Tokenizer.fromText(new TextDecoder().decode(bytes))
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))
    const text = await new Response(stream).text().catch((cause: unknown) => {
      throw new KeeplightError('format', 'tokenizer: the gzipped merges are damaged', { cause })
    })
    return Tokenizer.fromText(text)
  }

  /** Reads the text of one of these files; see {@link Tokenizer.fromBytes}. */
  static fromText(text: string): Tokenizer {
    return new Tokenizer(/^\s*\{/.test(text) ? mergesOf(text) : text)
  }

  /** Number of tokens: 49,408. */
  get size(): number {
    return this.#ids.size
  }

  get startToken(): number {
    return this.#ids.get(START)!
  }

  get endToken(): number {
    return this.#ids.get(END)!
  }

  /** Ids of a text of any length, between the start and the end token. */
  encode(text: string): number[] {
    const clean = text
      .normalize('NFC')
      .replace(/\p{White_Space}+/gu, ' ')
      .toLowerCase()
    const ids = [this.startToken]
    for (const [word] of clean.matchAll(WORD)) ids.push(...this.#word(word))
    ids.push(this.endToken)
    return ids
  }

  /**
   * Rows of equal length, as a text tower takes them. What is left of a row repeats the end token:
   * the tower reads at the first one, and a causal mask hides what follows.
   *
   * @returns [texts, context]
   * @throws KeeplightError `input` when a text is too long and `truncate` is not set
   */
  tokenize(
    texts: readonly string[],
    { context = CONTEXT, truncate = false }: TokenizeOptions = {},
  ): Uint32Array<ArrayBuffer> {
    const rows = new Uint32Array(texts.length * context).fill(this.endToken)
    texts.forEach((text, row) => {
      const ids = this.encode(text)
      if (ids.length > context && !truncate) {
        throw new KeeplightError(
          'input',
          `tokenizer: ${JSON.stringify(shorten(text))} has ${ids.length} tokens, expected ${context} ` +
            'at most; shorten it, or set truncate',
        )
      }
      // The row ends in an end token already; a text that is cut leaves it there.
      rows.set(ids.slice(0, Math.min(ids.length, context) - 1), row * context)
    })
    return rows
  }

  /** Merges the two neighbours of lowest rank until no pair of neighbours has one. */
  #word(word: string): readonly number[] {
    let ids = this.#words.get(word)
    if (ids) return ids
    let symbols = Array.from(new TextEncoder().encode(word), (byte) => this.#bytes[byte]!)
    symbols[symbols.length - 1] += WORD_END
    while (symbols.length > 1) {
      let best = Infinity
      for (let i = 0; i + 1 < symbols.length; i++) {
        best = Math.min(best, this.#ranks.get(`${symbols[i]!} ${symbols[i + 1]!}`) ?? Infinity)
      }
      if (best === Infinity) break
      const merged: string[] = []
      for (let i = 0; i < symbols.length; i++) {
        const pair = `${symbols[i]!} ${symbols[i + 1] ?? ''}`
        if (this.#ranks.get(pair) === best) merged.push(symbols[i]! + symbols[++i]!)
        else merged.push(symbols[i]!)
      }
      symbols = merged
    }
    ids = symbols.map((symbol) => this.#ids.get(symbol)!)
    this.#words.set(word, ids)
    return ids
  }
}

/** Bytes that stand for themselves in the vocabulary: printable Latin-1. */
const isPrintable = (byte: number): boolean =>
  (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174

/** A printable character for every byte, GPT-2's table: the others are moved past U+00FF, in order. */
function byteSymbols(): string[] {
  let moved = 256
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(isPrintable(byte) ? byte : moved++),
  )
}

const orderOf = (symbol: string): number => symbol.charCodeAt(0)

const shorten = (text: string): string => (text.length > 60 ? `${text.slice(0, 59)}…` : text)

/** The merges of Hugging Face's `tokenizer.json`, as lines. */
function mergesOf(json: string): string {
  const problem = (what: string, cause?: unknown): KeeplightError =>
    new KeeplightError(
      'format',
      `tokenizer: the tokenizer.json ${what}; give that of a CLIP model`,
      { cause },
    )
  let file: unknown
  try {
    file = JSON.parse(json)
  } catch (cause) {
    throw problem('is no JSON', cause)
  }
  const { model } = file as { model?: { type?: unknown; merges?: unknown; vocab?: unknown } }
  if (model?.type !== 'BPE' || !Array.isArray(model.merges)) {
    throw problem('has no byte-pair merges at model.merges')
  }
  const { vocab } = model as { vocab?: Record<string, unknown> | null }
  if (vocab && (vocab[START] !== 49_406 || vocab[END] !== 49_407)) {
    throw problem(`has ${START} and ${END} at other places than 49406 and 49407`)
  }
  // Newer files have pairs in the place of lines.
  const lines = (model.merges as unknown[]).map((merge) =>
    Array.isArray(merge) ? merge.join(' ') : String(merge),
  )
  return ['#version', ...lines].join('\n')
}
