import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { rowMomentsWgsl } from './layerNorm.ts'
import {
  eachInRow,
  rowKernelWgsl,
  rowSuffix,
  rowType,
  rowWorkgroups,
  type RowOptions,
} from './rows.ts'
import { storageFeatures, storedType } from './storage.ts'

const GROUP = 64

/**
 * Column `c` of token `token` of image `b`, whose row starts at `start`; `position` is where the token's
 * row of the positions starts. An image has `prefixes` tokens more than patches, before them.
 */
const embedded = /* wgsl */ `embedded(token, position + c, start - (b + 1u) * params.prefixes * width + c)`
const embeddedWgsl = (vector: boolean): string => /* wgsl */ `
fn embedded(token: u32, position: u32, source: u32) -> ${rowType(vector)} {
  if (token < params.prefixes) { return positions[position] + prefix[position]; }
  return positions[position] + ${rowType(vector)}(patches[source]);
}
`

/**
 * tokens[b] = concat(prefix, patches[b]) + positions: patches [batch, n, dimension], prefix [p,
 * dimension], positions [p + n, dimension] → out [batch, p + n, dimension].
 *
 * With 64 lanes, a workgroup takes one token of one image. With 1, a thread does, and a workgroup
 * takes the same token of 64 images, so that a software adapter loads prefix and position once for
 * eight of them.
 */
export const embedTokensKernel = kernelFamily((options: RowOptions) => {
  const { lanes, vector, from, to } = options
  const type = rowType(vector)
  return defineKernel({
    label: `embedTokens.${rowSuffix(options)}`,
    features: storageFeatures(from, to),
    splits: [
      {
        along: 'batch',
        per: {
          patches: ({ n, dimension }) => n * dimension,
          out: ({ n, prefixes, dimension }) => (n + prefixes) * dimension,
        },
      },
    ],
    bindings: {
      patches: read(storedType(from, vector)),
      prefix: read(type),
      positions: read(type),
      out: readWrite(storedType(to, vector)),
    },
    params: { batch: 'u32', n: 'u32', prefixes: 'u32', dimension: 'u32' },
    workgroups: ({ batch, n, prefixes }) =>
      linearWorkgroups((n + prefixes) * (lanes === 1 ? Math.ceil(batch / GROUP) : batch), 1),
    wgsl: /* wgsl */ `${embeddedWgsl(vector)}
${mainWgsl(GROUP)} {
  let group = linearWorkgroup(id, count);
  let tokens = params.n + params.prefixes;
  let token = group % tokens;
  let b = group / tokens${lanes === 1 ? ` * ${GROUP}u + thread` : ''};
  if (b >= params.batch) { return; }
  let width = params.dimension${vector ? ' / 4u' : ''};
  let position = token * width;
  let start = (b * tokens + token) * width;
  for (var c = ${lanes === 1 ? '0u' : 'thread'}; c < width; c += ${lanes}u) {
    out[start + c] = ${storedType(to, vector)}(${embedded});
  }
}
`,
  })
})

/**
 * {@link embedTokensKernel} and, of every token it makes, the layer norm with `weight` and `bias`
 * [dimension] (CLIP's norm before the blocks), with the same bits as the two one after the other. A
 * thread reads back only what it wrote.
 */
export const embedTokensNormKernel = kernelFamily((options: RowOptions) => {
  const { lanes, vector, from } = options
  const type = rowType(vector)
  return defineKernel({
    features: storageFeatures(from),
    label: `embedTokensNorm.${rowSuffix(options)}`,
    bindings: {
      patches: read(storedType(from, vector)),
      prefix: read(type),
      positions: read(type),
      weight: read(type),
      bias: read(type),
      out: readWrite(type),
    },
    params: { rows: 'u32', columns: 'u32', tokens: 'u32', prefixes: 'u32', eps: 'f32' },
    workgroups: rowWorkgroups(lanes),
    wgsl: `${embeddedWgsl(vector)}${rowKernelWgsl(
      options,
      /* wgsl */ `
  let token = row % params.tokens;
  let b = row / params.tokens;
  let position = token * width;
  ${eachInRow(options, `out[i] = ${embedded};`)}
${rowMomentsWgsl(options, 'out')}
  let scale = 1.0 / sqrt(squares / size + params.eps);
  ${eachInRow(options, 'out[i] = ((out[i] - shift) - mean) * scale * weight[c] + bias[c];')}`,
    )}`,
  })
})
