import { gaussianBlur } from '../../src/data/augment.ts'
import { randomBits } from '../../src/kernels/random.ts'
import {
  blurImages,
  cropImages,
  normalizeImages,
  resizeImages,
} from '../../src/runtime/ops/index.ts'
import type { Tensor } from '../../src/runtime/tensor.ts'
import {
  cropPixels,
  normalizePixels,
  resizeWindow,
  type Pixels,
} from '../../src/model/preprocess.ts'
import type { Arrays, OpCase } from './case.ts'

const [WIDTH, HEIGHT] = [23, 17]
const WINDOW = { x: 3, y: 4, width: 12, height: 9 }
const COLOURS = {
  size: HEIGHT,
  resize: HEIGHT,
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
} as const

const inputs: OpCase['inputs'] = {
  x: {
    data: Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => randomBits(1, 9, i)),
    shape: [1, HEIGHT, WIDTH, 3],
  },
}

/** The host's own picture code is the reference: bytes must be equal. */
const pixels = ({ x }: Arrays): Pixels => ({
  width: WIDTH,
  height: HEIGHT,
  data: Uint8Array.from(x!),
})

const bytes = (tensor: Tensor): Tensor<'u8'> => tensor as Tensor<'u8'>

const entry = (
  op: string,
  run: (x: Tensor<'u8'>) => Tensor,
  reference: (pixels: Pixels) => ArrayLike<number>,
  tolerance = 0,
): OpCase => ({
  op,
  name: 'a picture of bytes',
  dtype: 'u8',
  inputs,
  leaves: [],
  run: ({ x }) => run(bytes(x!)),
  reference: (arrays) => reference(pixels(arrays)),
  tolerance,
})

export const images: readonly OpCase[] = [
  entry(
    'resizeImages',
    (x) => resizeImages(x, 31, 11),
    (picture) => resizeWindow(picture, 31, 11, { x: 0, y: 0, width: 31, height: 11 }).data,
  ),
  entry(
    'cropImages',
    (x) => cropImages(x, WINDOW),
    (picture) => cropPixels(picture, WINDOW.x, WINDOW.y, WINDOW.width, WINDOW.height).data,
  ),
  // Sums next to a half may round to the other side: one level of 255.
  entry(
    'blurImages',
    (x) => blurImages(x, 1.3, 5),
    (picture) => gaussianBlur(picture, 1.3, 5).data,
    1 / 250,
  ),
  {
    ...entry(
      'normalizeImages',
      (x) => normalizeImages(x, COLOURS),
      () => [],
    ),
    dtype: 'u8 → f32',
    inputs: {
      x: { data: inputs.x!.data.slice(0, HEIGHT * HEIGHT * 3), shape: [1, HEIGHT, HEIGHT, 3] },
    },
    reference: (arrays) => normalizePixels([{ ...pixels(arrays), width: HEIGHT }], COLOURS),
  },
]
