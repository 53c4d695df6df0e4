import type { Device } from '../../runtime/device.ts'
import { KeeplightError } from '../../runtime/errors.ts'
import { record, type Plan } from '../../runtime/plan.ts'
import type { Tensor } from '../../runtime/tensor.ts'
import { inBatches, mapAhead } from '../ahead.ts'
import { bufferSource, type ByteSource } from '../byteSource.ts'
import { joinEmbeddings, normalizeRows, type Embeddings } from '../features.ts'
import { loadText } from '../loadTowers.ts'
import type { LoadOptions } from '../loadWeights.ts'
import { IN_FLIGHT, paddedBatch, ReplayQueue } from '../replayQueue.ts'
import type { ShardedSource } from '../safetensorsSource.ts'
import type { TextConfig } from './names.ts'
import { textInputs, type TextInputs, type TextTransformer } from './textTransformer.ts'
import { Tokenizer } from './tokenizer.ts'

/** Texts that one replay embeds. */
const BATCH = 32
/** Numbers of tokens that plans are recorded for, beside the model's own: few, and prompts are short. */
const LENGTHS = [16, 32]

type TextTensors = { readonly [K in keyof TextInputs]: Tensor<'u32'> }

export interface TextEmbeddingOptions {
  /** Rows of length 1, as cosines want them. Default false: features as the tower gives them. */
  readonly normalize?: boolean
  /** Cuts texts that are too long; without it such a text is refused. Default false. */
  readonly truncate?: boolean
  readonly signal?: AbortSignal | undefined
}

/** CLIP's text tower with its tokenizer, on a device. Its features share a space with the images'. */
export class TextModel {
  readonly name: string
  readonly device: Device
  readonly config: TextConfig
  readonly tokenizer: Pick<Tokenizer, 'tokenize'>
  /** Factor that turns cosines into logits: exp of the file's `logit_scale`, 100 in published models. */
  readonly logitScale: number
  readonly #tower: TextTransformer
  readonly #queue = new ReplayQueue<TextTensors>()
  readonly #afterwards: (() => void)[] = []

  /** @internal Use `loadTextModel`. */
  constructor(
    device: Device,
    tower: TextTransformer,
    about: { name: string; tokenizer: Pick<Tokenizer, 'tokenize'>; logitScale: number },
  ) {
    this.device = device
    this.config = tower.config
    this.name = about.name
    this.tokenizer = about.tokenizer
    this.logitScale = about.logitScale
    this.#tower = tower
  }

  /** E, size of one feature. */
  get dimension(): number {
    return this.config.projection
  }

  /**
   * Features of texts, a batch of 32 in one submit.
   *
   * @param texts one, or any iterable of them
   * @returns one row for each, in their order
   * @throws KeeplightError `input` for a text that is too long, `aborted` after `signal`
   */
  async embed(
    texts: string | Iterable<string> | AsyncIterable<string>,
    { normalize = false, truncate = false, signal }: TextEmbeddingOptions = {},
  ): Promise<Embeddings> {
    const items = typeof texts === 'string' ? [texts] : texts
    const { context } = this.config
    const rows = mapAhead(
      items,
      1,
      async (text) => this.tokenizer.tokenize([text], { context, truncate }),
      signal,
    )
    const embedded = mapAhead(
      inBatches(rows, BATCH),
      IN_FLIGHT,
      (batch) => this.#run(batch.length, Uint32Array.from(batch.flatMap((ids) => [...ids]))),
      signal,
    )
    const parts: Embeddings[] = []
    for await (const part of embedded) parts.push(part)
    const all = joinEmbeddings(parts, this.dimension)
    if (normalize) normalizeRows(all.data, this.dimension)
    return all
  }

  async #run(count: number, ids: Uint32Array): Promise<Embeddings> {
    const batch = paddedBatch(count)
    const { context } = this.config
    // What pads a batch is its first text again.
    const all = new Uint32Array(batch * context)
    for (let row = 0; row < batch; row++) {
      const from = row < count ? row * context : 0
      all.set(ids.subarray(from, from + context), row * context)
    }
    const inputs = textInputs(all, context, this.config, (needed) =>
      Math.min(LENGTHS.find((length) => length >= needed) ?? context, context),
    )
    const length = inputs.tokens.length / batch
    const data = await this.#queue.run(
      `${batch} × ${length}`,
      () => this.#record(batch, length),
      () => inputs,
    )
    const { dimension } = this
    return { count, dimension, data: data.slice(0, count * dimension) }
  }

  #record(batch: number, length: number): Promise<Plan<TextTensors, Tensor<'f32'>>> {
    const zeros = (size: number): Tensor<'u32'> => this.device.tensor(new Uint32Array(size), [size])
    const inputs = {
      tokens: zeros(batch * length),
      positions: zeros(batch * length),
      endRows: zeros(batch),
    }
    return record(this.device, inputs, (given) => this.#tower.forward(given).feature)
  }

  /** Frees weights and plans. */
  async dispose(): Promise<void> {
    await this.#queue.dispose()
    this.#tower.dispose()
    for (const run of this.#afterwards.splice(0)) run()
  }

  /** Has something run at the end of `dispose`, such as closing a device of the model's own. */
  onDispose(run: () => void): void {
    this.#afterwards.push(run)
  }
}

export interface TextModelOptions extends LoadOptions {
  /**
   * The merges that come with the model: the bytes or the text of OpenAI's `bpe_simple_vocab_16e6.txt.gz`,
   * or of Hugging Face's `tokenizer.json` or `merges.txt`; or a tokenizer that was made of them.
   */
  readonly merges: Uint8Array<ArrayBuffer> | string | Tokenizer
}

/**
 * Builds CLIP's text tower from a safetensors file; its vision half is not read.
 *
 * @throws KeeplightError `format` when the file is damaged, has no text tower, or one with another
 *   vocabulary than the merges', `input` when it can't be read, `aborted`
 */
export async function textModelFromSource(
  name: string,
  source: ByteSource | ShardedSource,
  { merges, ...options }: TextModelOptions,
): Promise<TextModel> {
  const tokenizer =
    merges instanceof Tokenizer
      ? merges
      : typeof merges === 'string'
        ? Tokenizer.fromText(merges)
        : await Tokenizer.fromBytes(merges)
  const { tower, logitScale } = await loadText(source, options)
  const { vocabulary } = tower.config
  if (vocabulary !== tokenizer.size) {
    tower.dispose()
    throw new KeeplightError(
      'format',
      `model ${name}: its vocabulary has ${vocabulary} tokens, the merges make ${tokenizer.size}; ` +
        'give the merges that come with the model',
    )
  }
  return new TextModel(options.device, tower, { name, tokenizer, logitScale })
}

/** {@link textModelFromSource} for bytes in memory. */
export const textModelFromBytes = (
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  options: TextModelOptions,
): Promise<TextModel> => textModelFromSource(name, bufferSource(name, bytes), options)
