import { viewPicture } from '../../src/data/viewPicture.ts'
import { randomBits } from '../../src/kernels/random.ts'
import type { Features } from '../../src/model/features.ts'
import type { VisionModel } from '../../src/model/model.ts'
import type { Pixels } from '../../src/model/preprocess.ts'
import type { OnlineViews } from '../../src/train/onlineSource.ts'
import { randomArray } from './random.ts'

/** A few images of a `smallModel`: pictures, and features that have nothing to do with them. */
export const COUNT = 26
export const DIMENSION = 16
export const VIEWS = 2

export const features: Features = {
  ...{ count: COUNT, dimension: DIMENSION, views: VIEWS },
  clean: randomArray(COUNT * DIMENSION, 1),
  augmented: randomArray(VIEWS * COUNT * DIMENSION, 2),
}

export const pictures: readonly Pixels[] = Array.from({ length: COUNT }, (_, image) => {
  const [width, height] = [11 + (image % 3), 14 - (image % 4)]
  const length = width * height * 3
  return { width, height, data: Uint8Array.from({ length }, (_, i) => randomBits(image, 2, i)) }
})

/** Random stream of an image's views. */
export const streamOf = (image: number): number => 40 + image

export function onlineViews(model: VisionModel, changes: Partial<OnlineViews> = {}): OnlineViews {
  const resized = pictures.map((picture, image) => {
    return viewPicture(picture, model.preprocess, streamOf(image))
  })
  return { encoders: [{ model, pictures: () => resized }], ...changes }
}
