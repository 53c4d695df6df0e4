import { defineKernel, subgroupMainWgsl } from './kernel.ts'
import type { MatmulKernel, MatmulOptions } from './matmul.ts'
import {
  accessWgsl,
  bindings,
  blockWgsl,
  blockWorkgroups,
  features,
  hasEpilogue,
  label,
  params,
} from './matmulAccess.ts'
import { lines, range } from './template.ts'

export interface SubgroupShape {
  readonly lanes: 4 | 8
  /** A workgroup owns rowStrips·lanes rows by 4·lanes columns. */
  readonly rowStrips: number
}

/**
 * Each workgroup is one subgroup of `lanes`.
 *
 * How sums leave the registers is chosen by what the driver compiles well. On lavapipe (8 lanes)
 * they pass through workgroup memory to one guarded loop: guards around every register's store take
 * LLVM five seconds to compile. On SwiftShader (4 lanes) workgroup memory is slower than storage, so
 * they are stored at once; past the edge, lanes repeat the last row or column and store what its
 * owner stores. An f16 output can't hold the sums meanwhile, so it goes the first way.
 */
export function subgroupKernel(
  given: MatmulOptions,
  { lanes, rowStrips: rowStripCount }: SubgroupShape,
): MatmulKernel {
  const options = { ...given, quadsA: false, quadsB: false }
  const rowStrips = range(rowStripCount)
  const strips = range(4)
  const height = rowStrips.length * lanes
  const width = strips.length * lanes
  const rows = range(height)
  const sum = (row: number, strip: number): string => `sum${row}_${strip}`
  const each = (text: (row: number, strip: number) => string): string =>
    lines(rows.map((row) => `  ${strips.map((strip) => text(row, strip)).join(' ')}`))
  const loop = (body: string): string => /* wgsl */ `
  for (var i = 0u; i < ${height * strips.length}u; i++) {
    let r = rowBase + i / ${strips.length}u;
    let c = column + i % ${strips.length}u * ${lanes}u;
    if (r < params.m && c < params.n) { ${body} }
  }`
  const throughMemory = lanes === 8 || (options.out === 'f16' && !options.partial)
  const drain = throughMemory
    ? `${each((r, s) => `sums[${(r * strips.length + s) * lanes}u + lane] = ${sum(r, s)};`)}
${loop(`store(slab.out, r, c, sums[i * ${lanes}u + lane]);`)}`
    : `${each((r, s) => `out[slab.out + min(rowBase + ${r}u, params.m - 1u) * params.n + column${s}] = ${sum(r, s)};`)}
${hasEpilogue(options) ? `  storageBarrier();${loop('store(slab.out, r, c, out[slab.out + r * params.n + c]);')}` : ''}`
  return defineKernel({
    label: label(options),
    bindings: bindings(options),
    params,
    features: ['subgroups', ...features(options)],
    workgroups: blockWorkgroups(height, width),
    wgsl: /* wgsl */ `${accessWgsl(options)}
${throughMemory ? `var<workgroup> sums: array<f32, ${height * width}>;` : ''}
${subgroupMainWgsl(lanes)} {${blockWgsl(height, width)}
  let column = columnBase + lane;
${lines(rowStrips.map((s) => `  let row${s} = min(rowBase + ${s * lanes}u + lane, params.m - 1u);`))}
${lines(strips.map((s) => `  let column${s} = min(column + ${s * lanes}u, params.n - 1u);`))}
${each((r, s) => `var ${sum(r, s)} = 0.0;`)}
${options.rowSums ? lines(rowStrips.map((s) => `  var rowSum${s} = 0.0;`)) : ''}
  for (var k = slab.start; k < slab.end; k++) {
${lines(strips.map((s) => `    let b${s} = loadB(slab.b, k, column${s});`))}
${lines(rowStrips.map((s) => `    let a${s} = loadA(slab.a, row${s}, k);${options.rowSums ? ` rowSum${s} += a${s};` : ''}`))}
${lines(
  rows.map((r) => {
    const value = `subgroupBroadcast(a${Math.floor(r / lanes)}, ${r % lanes}u)`
    const terms = strips.map((s) => `${sum(r, s)} = fma(v, b${s}, ${sum(r, s)});`)
    return `    { let v = ${value}; ${terms.join(' ')} }`
  }),
)}
  }
${drain}
${
  options.rowSums
    ? `  if (columnBase == 0u) {\n${lines(rowStrips.map((s) => `    rowSums[slab.out / params.n + row${s}] = rowSum${s};`))}\n  }`
    : ''
}
}
`,
  })
}
