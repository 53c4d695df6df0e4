import { readFile, realpath, stat } from 'node:fs/promises'
import { relative, sep } from 'node:path'
import type { ImageCollection } from '../data/collection.ts'
import { isImageName } from '../data/imageNames.ts'
import { loadTextModel, normalizeRows, type Device, type Rows } from '../index.node.ts'
import type { VisionModel } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { MixedModel } from './mixedModel.ts'
import type { OptionalModel } from './openHead.ts'

/** One thing to look for: an image of the collection, an image file, or words. */
export type Term =
  | { readonly kind: 'member'; readonly text: string; readonly index: number }
  | { readonly kind: 'image'; readonly text: string; readonly path: string }
  | { readonly kind: 'text'; readonly text: string }

/** A term with what is added to it and taken from it. */
export interface Query {
  readonly base: Term
  readonly add: readonly Term[]
  readonly subtract: readonly Term[]
}

/** What a query is called: `dog.jpg + "snow" − "people"`. */
export function describeQuery({ base, add, subtract }: Query): string {
  const shown = ({ kind, text }: Term): string => (kind === 'text' ? `“${text}”` : text)
  return [
    shown(base),
    ...add.map((term) => `+ ${shown(term)}`),
    ...subtract.map((term) => `− ${shown(term)}`),
  ].join(' ')
}

/**
 * Finds out what a query is: the name of an image of the collection, else a file, else words.
 *
 * @throws KeeplightError `input` for what is named like an image and is none
 */
export async function findTerm(text: string, collection: ImageCollection): Promise<Term> {
  const member = (name: string): Term | undefined => {
    const index = collection.files.indexOf(name)
    return index < 0 ? undefined : { kind: 'member', text: name, index }
  }
  const own = member(text)
  if (own) return own
  const entry = await stat(text).catch(() => undefined)
  if (entry?.isFile()) {
    const path = await realpath(text)
    const inside = relative(collection.root, path).split(sep).join('/')
    return member(inside) ?? { kind: 'image', text, path }
  }
  if (isImageName(text)) {
    throw new KeeplightError(
      'input',
      `query ${text}: there is no such file, and no image of this name in ${collection.root}. Give ` +
        'the path of an image, the name of one of the collection, or words.',
    )
  }
  if (text.trim() === '') {
    throw new KeeplightError('usage', 'a query is empty; give an image, or words')
  }
  return { kind: 'text', text }
}

/** What embeds queries; undefined for features of a file whose own images are looked for. */
export interface QueryEncoder {
  readonly device: Device
  readonly vision: VisionModel | MixedModel | undefined
  /** Name or path of the model, for its text tower. */
  readonly source: string
  readonly settings: OptionalModel & { readonly merges?: string }
  readonly signal: AbortSignal
}

/** Whether any of the queries has to go through an encoder. */
export function needsModel(queries: readonly Query[]): boolean {
  return termsOf(queries).some(({ kind }) => kind !== 'member')
}

function termsOf(queries: readonly Query[]): Term[] {
  return queries.flatMap(({ base, add, subtract }) => [base, ...add, ...subtract])
}

/**
 * Features of queries: those of their terms, each of length 1, added and subtracted.
 *
 * @param rowOf the row of an image of the collection, where it could be read
 * @throws KeeplightError `input` for pictures that can't be read, `usage` for words without CLIP
 */
export async function embedQueries(
  queries: readonly Query[],
  features: Rows,
  rowOf: (index: number) => number | undefined,
  encoder: QueryEncoder,
): Promise<Rows> {
  const { dimension } = features
  const terms = [...new Set(termsOf(queries))]
  const paths = terms.flatMap((term) => (term.kind === 'image' ? [term.path] : []))
  const texts = terms.flatMap((term) => (term.kind === 'text' ? [term.text] : []))
  const images = paths.length > 0 ? await embedImages(paths, encoder) : empty
  const words = texts.length > 0 ? await embedTexts(texts, encoder) : empty
  const vectors = new Map<Term, Float32Array>()
  let [image, word] = [0, 0]
  for (const term of terms) {
    if (term.kind === 'member') {
      const row = rowOf(term.index)
      if (row === undefined) {
        throw new KeeplightError('input', `query ${term.text}: this image can't be read`)
      }
      const own = features.data.slice(row * dimension, (row + 1) * dimension)
      normalizeRows(own, dimension)
      vectors.set(term, own)
    } else {
      const [all, at] = term.kind === 'image' ? [images, image++] : [words, word++]
      vectors.set(term, all.subarray(at * dimension, (at + 1) * dimension))
    }
  }
  const data = new Float32Array(queries.length * dimension)
  queries.forEach(({ base, add, subtract }, query) => {
    const put = (term: Term, sign: number): void => {
      vectors.get(term)!.forEach((value, i) => (data[query * dimension + i] += sign * value))
    }
    for (const term of [base, ...add]) put(term, 1)
    for (const term of subtract) put(term, -1)
  })
  return { count: queries.length, dimension, data }
}

const empty = new Float32Array(0)

async function embedImages(
  paths: readonly string[],
  { vision, signal }: QueryEncoder,
): Promise<Float32Array> {
  const encoders = vision instanceof MixedModel ? vision.encoders : [vision!]
  const parts = []
  for (const encoder of encoders) {
    parts.push(await encoder.embed(paths, { normalize: true, signal }))
  }
  const dimension = parts.reduce((sum, part) => sum + part.dimension, 0)
  const data = new Float32Array(paths.length * dimension)
  let offset = 0
  for (const part of parts) {
    for (let row = 0; row < part.count; row++) {
      const own = part.data.subarray(row * part.dimension, (row + 1) * part.dimension)
      data.set(own, row * dimension + offset)
    }
    offset += part.dimension
  }
  normalizeRows(data, dimension)
  return data
}

async function embedTexts(
  texts: readonly string[],
  { device, vision, source, settings, signal }: QueryEncoder,
): Promise<Float32Array> {
  if (!vision || vision instanceof MixedModel || vision.config.family !== 'clip') {
    throw new KeeplightError(
      'usage',
      `query “${texts[0]}”: there is no such file, and model ${vision?.name ?? source} has no text ` +
        'tower to read it as words; they need a CLIP model, such as --model clip-vit-b-32',
    )
  }
  const { merges, dtype } = settings
  const text = await loadTextModel(source, {
    ...{ device, dtype, signal },
    ...(merges !== undefined && { merges: new Uint8Array(await readMerges(merges)) }),
  })
  try {
    return (await text.embed(texts, { normalize: true, signal })).data
  } finally {
    await text.dispose()
  }
}

function readMerges(path: string): Promise<Buffer> {
  return readFile(path).catch((cause: unknown) => {
    throw new KeeplightError('input', `--merges ${path}: ${(cause as Error).message}`, { cause })
  })
}
