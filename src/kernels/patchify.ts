import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from './kernel.ts'

const GROUP = 64

// `patch` is a reserved word of WGSL.
const params = {
  batch: 'u32',
  channels: 'u32',
  height: 'u32',
  width: 'u32',
  side: 'u32',
} as const

type Sizes = Readonly<Record<keyof typeof params, number>>

const workgroups = ({ batch, channels, height, width, side }: Sizes) =>
  linearWorkgroups((batch * channels * height * width) / side, GROUP)

const imageSize = ({ channels, height, width }: Sizes): number => channels * height * width

/**
 * A thread moves one line of one patch, `side` elements: `image` is the place of its first element
 * in x [batch, channels, height, width], `line` in patches [batch, n, channels · side²],
 * whose elements are ordered (channel, y, x).
 */
const main = (move: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let size = params.side;
  let across = params.width / size;
  let down = params.height / size;
  if (i >= params.batch * params.channels * params.height * across) { return; }
  let y = i % size;
  let channel = (i / size) % params.channels;
  let patchIndex = i / (size * params.channels);
  let left = (patchIndex % across) * size;
  let top = ((patchIndex / across) % down) * size;
  let b = patchIndex / (across * down);
  let image = ((b * params.channels + channel) * params.height + top + y) * params.width + left;
  let line = i * size;
  for (var k = 0u; k < size; k++) { ${move} }
}
`

/** x [batch, channels, height, width] → out [batch, (height/side)(width/side), channels·side²]. */
export const patchifyKernel = defineKernel({
  label: 'patchify',
  splits: [{ along: 'batch', per: { x: imageSize, out: imageSize } }],
  bindings: { x: read('f32'), out: readWrite('f32') },
  params,
  workgroups,
  wgsl: main('out[line + k] = x[image + k];'),
})

/** The inverse of {@link patchifyKernel}: each pixel is in one patch only. */
export const patchifyBackwardKernel = defineKernel({
  label: 'patchify.backward',
  splits: [{ along: 'batch', per: { dOut: imageSize, dX: imageSize } }],
  bindings: { dOut: read('f32'), dX: readWrite('f32') },
  params,
  workgroups,
  wgsl: main('dX[image + k] = dOut[line + k];'),
})
