import { KeeplightError } from '../runtime/errors.ts'

/** WordNet synsets by their number, such as `n02056570`, with a name where one is known. */
export type Synsets = ReadonlyMap<string, string>

/**
 * Subsets of ImageNet that the deep clustering literature scores on: chosen by DAC (Chang et al. 2017),
 * listed in the code of Contrastive Clustering (Li et al. 2021).
 */
const subsets: Readonly<Record<string, Synsets>> = {
  'imagenet-10': new Map([
    ['n02056570', 'king penguin'],
    ['n02085936', 'Maltese dog'],
    ['n02128757', 'snow leopard'],
    ['n02690373', 'airliner'],
    ['n02692877', 'airship'],
    ['n03095699', 'container ship'],
    ['n04254680', 'soccer ball'],
    ['n04285008', 'sports car'],
    ['n04467665', 'trailer truck'],
    ['n07747607', 'orange'],
  ]),
  'imagenet-dogs': new Map([
    ['n02085936', 'Maltese dog'],
    ['n02086646', 'Blenheim spaniel'],
    ['n02088238', 'basset'],
    ['n02091467', 'Norwegian elkhound'],
    ['n02097130', 'giant schnauzer'],
    ['n02099601', 'golden retriever'],
    ['n02101388', 'Brittany spaniel'],
    ['n02101556', 'clumber'],
    ['n02102177', 'Welsh springer spaniel'],
    ['n02105056', 'groenendael'],
    ['n02105412', 'kelpie'],
    ['n02105855', 'Shetland sheepdog'],
    ['n02107142', 'Doberman'],
    ['n02110958', 'pug'],
    ['n02112137', 'chow'],
  ]),
}

/** The names that stand for a list of synsets. */
export const synsetSubsets: readonly string[] = Object.keys(subsets)

/** The synsets of a named subset, in any case; undefined for other names. */
export function namedSynsets(name: string): Synsets | undefined {
  return Object.hasOwn(subsets, name.toLowerCase()) ? subsets[name.toLowerCase()] : undefined
}

/**
 * Reads a list: a synset a line, a name after it where wanted, `#` before comments.
 *
 * @param source what errors call it
 * @throws KeeplightError `input` naming the line that is no synset, or repeats one
 */
export function parseSynsets(text: string, source: string): Synsets {
  const synsets = new Map<string, string>()
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/)
  for (const [index, line] of lines.entries()) {
    const content = line.replace(/#.*/, '').trim()
    if (content === '') continue
    const [, synset, name] = /^(n\d{8})(?:[\s,]+(.*))?$/.exec(content) ?? []
    const place = `${source}, line ${index + 1}`
    if (synset === undefined) {
      throw new KeeplightError(
        'input',
        `${place}: expected a synset such as n02056570, got ${JSON.stringify(content.slice(0, 80))}.`,
      )
    }
    if (synsets.has(synset)) {
      throw new KeeplightError('input', `${place}: ${synset} stands twice in the list. Remove one.`)
    }
    synsets.set(synset, name?.trim() || synset)
  }
  if (synsets.size < 2) {
    throw new KeeplightError(
      'input',
      `${source}: has ${synsets.size} synsets, expected at least 2, one a line.`,
    )
  }
  return synsets
}

/** The synset whose folder a path goes through; undefined when it is none of the list. */
export function synsetOf(path: string, synsets: Synsets): string | undefined {
  return path.split('/').find((part, i, parts) => i < parts.length - 1 && synsets.has(part))
}

/** Whether a folder holds pictures of a synset that is not in the list. */
export function isOtherSynset(folder: string, synsets: Synsets): boolean {
  return /^n\d{8}$/.test(folder) && !synsets.has(folder)
}
