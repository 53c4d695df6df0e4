import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { rowType } from './rows.ts'
import { storageFeatures, storedType } from './storage.ts'

const GROUP = 64

interface PatchifyOptions {
  /** Whether `side` is a whole number of vec4s. */
  readonly vector: boolean
  /** Whether images and patches are stored as f16; forward only. */
  readonly half?: boolean
}

// `patch` is a reserved word of WGSL.
const params = {
  batch: 'u32',
  channels: 'u32',
  height: 'u32',
  width: 'u32',
  side: 'u32',
  /** Lines of a patch to a thread: 1, or all of them where starting threads is dear. */
  lines: 'u32',
} as const

type Sizes = Readonly<Record<keyof typeof params, number>>

const workgroups = ({ batch, channels, height, width, side, lines }: Sizes) =>
  linearWorkgroups((batch * channels * height * width) / (side * lines), GROUP)

const imageSize = ({ channels, height, width }: Sizes): number => channels * height * width

/**
 * A thread moves `lines` lines of one channel of one patch: `image` is the place of a line's first
 * element in x [batch, channels, height, width], `line` in patches [batch, n, channels · side²], whose
 * elements are ordered (channel, y, x).
 */
const main = (vector: boolean, move: string): string => /* wgsl */ `
${mainWgsl(GROUP)} {
  let i = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let size = params.side;
  let parts = size / params.lines;
  let across = params.width / size;
  let down = params.height / size;
  if (i >= params.batch * params.channels * parts * down * across) { return; }
  let first = (i % parts) * params.lines;
  let channel = (i / parts) % params.channels;
  let patchIndex = i / (parts * params.channels);
  let left = (patchIndex % across) * size;
  let top = ((patchIndex / across) % down) * size;
  let b = patchIndex / (across * down);
  let pitch = params.width${vector ? ' / 4u' : ''};
  let length = size${vector ? ' / 4u' : ''};
  var image = ((b * params.channels + channel) * params.height + top + first) * pitch
    + left${vector ? ' / 4u' : ''};
  var line = i * params.lines * length;
  for (var y = 0u; y < params.lines; y++) {
    for (var k = 0u; k < length; k++) { ${move} }
    image += pitch;
    line += length;
  }
}
`

const suffix = (vector: boolean): string => (vector ? '.vec4' : '')

/** x [batch, channels, height, width] → out [batch, (height/side)(width/side), channels·side²]. */
export const patchifyKernel = kernelFamily(({ vector, half }: PatchifyOptions) => {
  const storage = half ? 'f16' : 'f32'
  return defineKernel({
    label: `patchify${suffix(vector)}${half ? '.f16' : ''}`,
    features: storageFeatures(storage),
    splits: [{ along: 'batch', per: { x: imageSize, out: imageSize } }],
    bindings: { x: read(storedType(storage, vector)), out: readWrite(storedType(storage, vector)) },
    params,
    workgroups,
    wgsl: main(vector, 'out[line + k] = x[image + k];'),
  })
})

/** The inverse of {@link patchifyKernel}: each pixel is in one patch only. */
export const patchifyBackwardKernel = kernelFamily(({ vector }: PatchifyOptions) =>
  defineKernel({
    label: `patchify.backward${suffix(vector)}`,
    splits: [{ along: 'batch', per: { dOut: imageSize, dX: imageSize } }],
    bindings: { dOut: read(rowType(vector)), dX: readWrite(rowType(vector)) },
    params,
    workgroups,
    wgsl: main(vector, 'dX[image + k] = dOut[line + k];'),
  }),
)
