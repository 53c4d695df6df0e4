import clipB16 from '../../weights/clip-vit-b-16/manifest.json'
import clipB32 from '../../weights/clip-vit-b-32/manifest.json'
import clipL14 from '../../weights/clip-vit-l-14/manifest.json'
import dinoB16 from '../../weights/dino-vit-b-16/manifest.json'
import dinoB8 from '../../weights/dino-vit-b-8/manifest.json'
import dinoS16 from '../../weights/dino-vit-s-16/manifest.json'
import dinoS8 from '../../weights/dino-vit-s-8/manifest.json'
import dinov2B14 from '../../weights/dinov2-vit-b-14/manifest.json'
import dinov2B14Registers from '../../weights/dinov2-vit-b-14-registers/manifest.json'
import dinov2S14 from '../../weights/dinov2-vit-s-14/manifest.json'
import dinov2S14Registers from '../../weights/dinov2-vit-s-14-registers/manifest.json'
import tiny from '../../weights/keeplight-tiny/manifest.json'
import { KeeplightError } from '../runtime/errors.ts'
import { parseManifest, type ModelManifest } from './manifestFormat.ts'

/** Every model that has a name, in the order in which lists show them. */
export const manifests: readonly ModelManifest[] = /* @__PURE__ */ [
  tiny,
  ...[clipB32, clipB16, clipL14],
  ...[dinoS16, dinoS8, dinoB16, dinoB8],
  ...[dinov2S14, dinov2B14, dinov2S14Registers, dinov2B14Registers],
].map(parseManifest)

/** Names differ by case, and by `_` for `-`, from one publisher to the next. */
const plain = (name: string): string => name.trim().toLowerCase().replaceAll('_', '-')

/** The model of this name or alias (`clip-vit-b-32`, `ViT-B/32`, `facebook/dino-vits8`), or undefined. */
export function findManifest(name: string): ModelManifest | undefined {
  const wanted = plain(name)
  return manifests.find((manifest) => namesOf(manifest).some((known) => plain(known) === wanted))
}

const namesOf = ({ name, aliases }: ModelManifest): readonly string[] => [name, ...aliases]

/**
 * The error of a name that is neither a model's nor a file's.
 *
 * @param also what else a model may be given as, if anything
 */
export function unknownModel(name: string, also?: string): KeeplightError {
  const nearest = nearestNames(name)
  const guess = nearest.length > 0 ? `, nearest are ${nearest.join(', ')}` : ''
  return new KeeplightError(
    'input',
    `model ${name}: no model has this name${guess}. Give ${also ? `${also}, or ` : ''}one of: ` +
      manifests.map((manifest) => manifest.name).join(', '),
  )
}

/** Up to three names or aliases, one a model, that are a few letters away. */
function nearestNames(name: string): string[] {
  const wanted = plain(name)
  return manifests
    .map((manifest) => {
      const ranked = namesOf(manifest).map((known) => ({
        known,
        distance: editDistance(wanted, plain(known)),
      }))
      return ranked.reduce((best, next) => (next.distance < best.distance ? next : best))
    })
    .filter(({ known, distance }) => distance <= Math.max(2, known.length / 3))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ known }) => known)
}

/** Levenshtein's: letters to insert, delete or replace. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}

/**
 * Address of a model's file on the Hugging Face hub.
 *
 * @param endpoint the hub; a mirror's address may have a path
 */
export function hubAddress(
  { repository, revision, file }: { repository: string; revision: string; file: string },
  endpoint = 'https://huggingface.co',
): URL {
  const path = file.split('/').map(encodeURIComponent).join('/')
  return new URL(
    `${endpoint.replace(/\/+$/, '')}/${repository}/resolve/${encodeURIComponent(revision)}/${path}`,
  )
}

/** What kind of error a model's file is that isn't what its manifest says. */
export function checkAgainstManifest(
  manifest: ModelManifest,
  model: { readonly config: { readonly family: string }; readonly dimension: number },
): void {
  const { name, family, features } = manifest
  if (model.config.family === family && model.dimension === features) return
  throw new KeeplightError(
    'format',
    `model ${name}: its file should hold a ${family} encoder with features of ${features}, ` +
      `it has a ${model.config.family} encoder with features of ${model.dimension}`,
  )
}
