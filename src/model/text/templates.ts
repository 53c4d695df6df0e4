/**
 * Prompts into which the name of a class goes in the place of `{}`, as Radford et al. (2021) chose them:
 * prompts.md and Prompt_Engineering_for_ImageNet.ipynb of openai/CLIP, under the MIT licence.
 */

/** Each phrase with both articles in the place of `@`. */
const withArticles = (phrases: readonly string[]): string[] =>
  ['a', 'the'].flatMap((article) => phrases.map((phrase) => phrase.replace('@', article)))

const photo = (adjectives: readonly string[]): string[] =>
  adjectives.map((adjective) => `a ${adjective} photo of @ {}.`)

/** The 18 of CIFAR-10 and CIFAR-100. */
export const CIFAR_TEMPLATES: readonly string[] = withArticles([
  'a photo of @ {}.',
  ...photo(['blurry', 'black and white', 'low contrast', 'high contrast', 'bad', 'good']),
  'a photo of @ small {}.',
  'a photo of @ big {}.',
])

/** The 80 of ImageNet. */
export const IMAGENET_TEMPLATES: readonly string[] = [
  ...withArticles([
    'a photo of @ {}.',
    ...photo(['bad', 'good', 'bright', 'dark', 'cropped', 'close-up', 'blurry', 'pixelated']),
    ...photo(['black and white', 'low resolution', 'jpeg corrupted']),
    ...['hard to see', 'clean', 'dirty', 'cool', 'nice', 'weird', 'small', 'large'].map(
      (adjective) => `a photo of @ ${adjective} {}.`,
    ),
    ...['sculpture', 'rendering', 'rendition', 'tattoo', 'drawing', 'painting', 'doodle'].map(
      (thing) => `a ${thing} of @ {}.`,
    ),
    'a sketch of @ {}.',
    'graffiti of @ {}.',
    'art of @ {}.',
    'itap of @ {}.', // "I took a picture"
    ...['embroidered', 'plastic', 'origami', 'toy', 'cartoon', 'plushie'].map(
      (material) => `@ ${material} {}.`,
    ),
    '@ {} in a video game.',
  ]),
  'a photo of many {}.',
  'a photo of one {}.',
  'a photo of my {}.',
  'itap of my {}.',
]
