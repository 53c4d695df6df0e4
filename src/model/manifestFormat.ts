import { KeeplightError } from '../runtime/errors.ts'
import type { PreprocessConfig } from './preprocess.ts'
import type { Family } from './vit/config.ts'

/** A file on the Hugging Face hub. */
export interface HubPlace {
  /** `organisation/name` */
  readonly repository: string
  /** Branch, `refs/pr/N`, or the whole hash of a commit. */
  readonly revision: string
  /** Path within the repository. */
  readonly file: string
}

/** What is known of a model before its weights are read: `weights/<name>/manifest.json`. */
export interface ModelManifest {
  readonly name: string
  /** As its authors write it. */
  readonly title: string
  /** Names that others know it by. */
  readonly aliases: readonly string[]
  readonly family: Family
  /** Size of a feature. */
  readonly features: number
  readonly parameters: number
  /** GFLOP for one image at the size below, the image tower alone; a multiply-add is two. */
  readonly gflop: number
  /** Where the file is on the hub; null: it comes with the package. */
  readonly repository: string | null
  readonly revision: string | null
  /** The commit that the revision named when the manifest was written; asked for first. */
  readonly commit: string | null
  readonly file: string
  /** Bytes of the file. */
  readonly size: number
  /** `computed`: by hand, from the shapes of its tensors; the header may differ by some bytes. */
  readonly sizeSource: 'published' | 'computed'
  /** In hex; null where nobody published it. */
  readonly sha256: string | null
  /** The same bytes elsewhere, for when the repository no longer has them. */
  readonly mirrors: readonly HubPlace[]
  /** The file of the text tower's vocabulary in the same repository; null where there is no text. */
  readonly tokenizer: {
    readonly file: string
    readonly size: number
    readonly sha256: string
  } | null
  /** SPDX identifier, and what should be known about it. */
  readonly licence: { readonly id: string; readonly note: string | null }
  readonly preprocess: PreprocessConfig
  /** Traps: where the hub's own data are missing or wrong. */
  readonly notes: readonly string[]
}

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string' && value.trim() !== ''
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) > 0
const isHash =
  (length: number): Check =>
  (value) =>
    typeof value === 'string' && value.length === length && /^[0-9a-f]+$/.test(value)
const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value)
const isList =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check)
const isRecord =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.keys(value).every((key) => Object.hasOwn(fields, key)) &&
    Object.entries(fields).every(([key, check]) => check((value as Record<string, unknown>)[key]))
const isOneOf =
  (...words: string[]): Check =>
  (value) =>
    words.includes(value as string)

const isRepository: Check = (value) =>
  typeof value === 'string' && /^[\w.-]+\/[\w.-]+$/.test(value) && !/(^|\/)\.|\.\.|--/.test(value)
const isRevision: Check = (value) =>
  typeof value === 'string' && /^[\w.-]+(\/[\w.-]+)*$/.test(value) && !value.includes('..')
/** A path that stays where it is joined to. */
const isFile: Check = isRevision
const isTriple =
  (low: number, high: number): Check =>
  (value) =>
    Array.isArray(value) &&
    value.length === 3 &&
    value.every((x) => typeof x === 'number' && x > low && x < high)

const fields: { readonly [field in keyof ModelManifest]-?: Check } = {
  name: (value) => typeof value === 'string' && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(value),
  title: isText,
  aliases: isList(isText),
  family: isOneOf('clip', 'dino', 'dinov2'),
  features: isCount,
  parameters: isCount,
  gflop: (value) => typeof value === 'number' && value > 0,
  repository: orNull(isRepository),
  revision: orNull(isRevision),
  commit: orNull(isHash(40)),
  file: isFile,
  size: isCount,
  sizeSource: isOneOf('published', 'computed'),
  sha256: orNull(isHash(64)),
  mirrors: isList(isRecord({ repository: isRepository, revision: isRevision, file: isFile })),
  tokenizer: orNull(isRecord({ file: isFile, size: isCount, sha256: isHash(64) })),
  licence: isRecord({ id: isText, note: orNull(isText) }),
  preprocess: isRecord({
    size: isCount,
    resize: isCount,
    mean: isTriple(0, 1),
    std: isTriple(0, 1),
  }),
  notes: isList(isText),
}

/**
 * A manifest from its JSON value.
 *
 * @throws KeeplightError `format` naming the field that is missing, unknown or not as it should be
 */
export function parseManifest(value: unknown): ModelManifest {
  const name = (value as { name?: unknown } | null)?.name
  const label = typeof name === 'string' ? `manifest of ${name}` : 'manifest'
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new KeeplightError('format', `${label}: expected a JSON object`)
  }
  const unknown = Object.keys(value).find((key) => !Object.hasOwn(fields, key))
  if (unknown) throw new KeeplightError('format', `${label}: it has an unknown field ${unknown}`)
  const record = value as Record<string, unknown>
  for (const [field, check] of Object.entries(fields)) {
    if (!check(record[field])) {
      const found = JSON.stringify(record[field])?.slice(0, 100) ?? 'nothing'
      throw new KeeplightError('format', `${label}: ${field} should not be ${found}`)
    }
  }
  const manifest = value as ModelManifest
  if ((manifest.repository === null) !== (manifest.revision === null)) {
    throw new KeeplightError('format', `${label}: repository and revision belong together`)
  }
  return manifest
}
