import type { Appearance } from './appearance.ts'
import { DisjointSets } from './disjointSets.ts'
import { joinSamePictures, matchPictures } from './samePicture.ts'

/** An image's content hash and what it looks like. */
export interface Look {
  readonly hash: string
  readonly appearance: Appearance
}

export interface Copy {
  /** Place in the list of images. */
  readonly image: number
  /** How it relates to the best copy: `same bytes`, or a symmetry's name. */
  readonly relation: string
  /** Correlation with the best copy's print, 1 for the same bytes. */
  readonly similarity: number
}

/** Images that are one picture: the same bytes, or the same picture in another encoding, size or orientation. */
export interface CopyGroup {
  readonly kind: 'bytes' | 'picture'
  /** The one to keep: most pixels, then most bytes, then the first. */
  readonly best: number
  readonly others: readonly Copy[]
}

/** Different pictures that a model finds much closer than the collection's images are as a rule. */
export interface LookAlikeGroup {
  readonly kind: 'look-alike'
  readonly best: number
  /** `similarity` is the cosine of the features of the image and the nearest one of the group. */
  readonly others: readonly Copy[]
}

/** Groups the images that are copies of each other, in the order of their first images. */
export function findCopies(looks: readonly Look[]): CopyGroup[] {
  const sets = new DisjointSets(looks.length)
  const firstOf = new Map<string, number>()
  const distinct: number[] = []
  looks.forEach(({ hash }, i) => {
    const first = firstOf.get(hash)
    if (first !== undefined) sets.union(first, i)
    else {
      firstOf.set(hash, i)
      distinct.push(i)
    }
  })
  const pictures = new DisjointSets(distinct.length)
  joinSamePictures(
    distinct.map((i) => looks[i].appearance),
    pictures,
  )
  for (const group of pictures.groups()) {
    for (const member of group) sets.union(distinct[group[0]], distinct[member])
  }
  return sets.groups().map((images) => {
    const best = bestOf(images, looks)
    const others = images.filter((i) => i !== best).map((i) => relate(looks[best], looks[i], i))
    const kind = others.every(({ relation }) => relation === 'same bytes') ? 'bytes' : 'picture'
    return { kind, best, others }
  })
}

function relate(best: Look, look: Look, image: number): Copy {
  if (best.hash === look.hash) return { image, relation: 'same bytes', similarity: 1 }
  const match = matchPictures(best.appearance, look.appearance)
  if (!match) return { image, relation: 'a copy of a copy', similarity: 0 }
  const { symmetry, similarity } = match
  return { image, relation: nameOf(symmetry.name), similarity }
}

const nameOf = (symmetry: string): string => (symmetry === 'as it is' ? 're-encoded' : symmetry)

function bestOf(images: readonly number[], looks: readonly Look[]): number {
  const pixels = (i: number): number => looks[i].appearance.width * looks[i].appearance.height
  const bytes = (i: number): number => looks[i].appearance.bytes
  return images.reduce((best, i) => {
    const more = pixels(i) - pixels(best) || bytes(i) - bytes(best)
    return more > 0 ? i : best
  })
}

/** Two images and the cosine of their features. */
export interface ClosePair {
  readonly a: number
  readonly b: number
  readonly cosine: number
}

/**
 * Groups look-alikes by their pairs. Copies of one picture count once, as the best of them, so that a
 * group shows different pictures alone.
 */
export function groupLookAlikes(
  pairs: readonly ClosePair[],
  copies: readonly CopyGroup[],
  looks: readonly Look[],
): LookAlikeGroup[] {
  const bestOfImage = Uint32Array.from(looks, (_, i) => i)
  for (const { best, others } of copies) others.forEach(({ image }) => (bestOfImage[image] = best))
  const sets = new DisjointSets(looks.length)
  const nearest = new Map<number, number>()
  const note = (image: number, cosine: number): void => {
    nearest.set(image, Math.max(cosine, nearest.get(image) ?? -1))
  }
  for (const pair of pairs) {
    const [a, b] = [bestOfImage[pair.a], bestOfImage[pair.b]]
    if (a === b) continue
    sets.union(a, b)
    note(a, pair.cosine)
    note(b, pair.cosine)
  }
  return sets.groups().map((images) => {
    const best = bestOf(images, looks)
    const others = images
      .filter((i) => i !== best)
      .map((image) => ({ image, relation: 'look-alike', similarity: nearest.get(image) ?? 0 }))
    return { kind: 'look-alike', best, others }
  })
}
