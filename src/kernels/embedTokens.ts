import {
  defineKernel,
  kernelFamily,
  linearWorkgroups,
  mainWgsl,
  read,
  readWrite,
} from './kernel.ts'
import { rowType, type RowOptions } from './rows.ts'

const GROUP = 64

/**
 * tokens[b] = concat(classToken, patches[b]) + positions: patches [batch, n, dimension], classToken
 * [dimension], positions [n + 1, dimension] → out [batch, n + 1, dimension].
 *
 * With 64 lanes, a workgroup takes one token of one image. With 1, a thread does, and a workgroup
 * takes the same token of 64 images, so that a software adapter loads class token and position once
 * for eight of them.
 */
export const embedTokensKernel = kernelFamily(({ lanes, vector }: RowOptions) => {
  const type = rowType(vector)
  return defineKernel({
    label: `embedTokens.${lanes}${vector ? '.vec4' : ''}`,
    bindings: {
      patches: read(type),
      classToken: read(type),
      positions: read(type),
      out: readWrite(type),
    },
    params: { batch: 'u32', n: 'u32', dimension: 'u32' },
    workgroups: ({ batch, n }) =>
      linearWorkgroups((n + 1) * (lanes === 1 ? Math.ceil(batch / GROUP) : batch), 1),
    wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let group = linearWorkgroup(id, count);
  let token = group % (params.n + 1u);
  let b = group / (params.n + 1u)${lanes === 1 ? ` * ${GROUP}u + thread` : ''};
  if (b >= params.batch) { return; }
  let width = params.dimension${vector ? ' / 4u' : ''};
  let position = token * width;
  let start = (b * (params.n + 1u) + token) * width;
  for (var c = ${lanes === 1 ? '0u' : 'thread'}; c < width; c += ${lanes}u) {
    var value = positions[position + c];
    if (token == 0u) { value += classToken[c]; }
    // An image has one token more than patches, and the first is not among them.
    else { value += patches[start - (b + 1u) * width + c]; }
    out[start + c] = value;
  }
}
`,
  })
})
