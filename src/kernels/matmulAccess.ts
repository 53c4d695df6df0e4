import { activationWgsl } from './activations.ts'
import {
  linearWorkgroups,
  read,
  readWrite,
  type Binding,
  type ElementType,
  type KernelFeature,
  type ParameterType,
  type Workgroups,
} from './kernel.ts'
import type { MatmulBinding, MatmulOptions, MatmulParam, MatmulStorage } from './matmul.ts'

/** What every variant of matmul shares: operands, the epilogue, and the place of a workgroup. */

type Epilogue = Pick<MatmulOptions, 'bias' | 'activation' | 'layerScale' | 'residual' | 'out'>

export const params: Readonly<Record<MatmulParam, ParameterType>> = {
  m: 'u32',
  n: 'u32',
  k: 'u32',
  batch: 'u32',
  strideA: 'u32',
  strideB: 'u32',
  slabs: 'u32',
  depth: 'u32',
}

/** Scales of an int8 B that stand for columns of the product, and so are the epilogue's. */
export const scalesColumns = ({
  b,
  transposeB,
}: Pick<MatmulOptions, 'b' | 'transposeB'>): boolean => b === 'i8' && transposeB

/** `matmul.NT.f32×i8.bias.gelu.residual.tile64`; storages only where one is not f32. */
export function label(options: MatmulOptions): string {
  const { a, b, out, partial, variant } = options
  const layout = `${options.transposeA ? 'T' : 'N'}${options.transposeB ? 'T' : 'N'}`
  const storage = `${a}×${b}${out === 'f16' ? '→f16' : ''}`
  return [
    'matmul',
    layout,
    ...(storage === 'f32×f32' ? [] : [storage]),
    ...(partial ? ['partial'] : epilogueNames(options)),
    ...(options.rowSums ? ['rowSums'] : []),
    variant,
  ].join('.')
}

export const epilogueNames = ({ bias, activation, layerScale, residual }: Epilogue): string[] =>
  [
    bias === 'each' ? 'biases' : bias ? 'bias' : '',
    activation === 'none' ? '' : activation,
    layerScale ? 'layerScale' : '',
    residual ? 'residual' : '',
  ].filter(Boolean)

export const hasEpilogue = (options: MatmulOptions): boolean =>
  !options.partial && (epilogueNames(options).length > 0 || scalesColumns(options))

export const features = ({ a, b, out, nativeF16 }: MatmulOptions): KernelFeature[] =>
  nativeF16 && [a, b, out].includes('f16') ? ['shader-f16'] : []

function element(storage: MatmulStorage, nativeF16: boolean, quads: boolean): ElementType {
  if (storage === 'i8') return 'u32'
  if (storage === 'f32') return quads ? 'vec4<f32>' : 'f32'
  if (nativeF16) return quads ? 'vec4<f16>' : 'f16'
  return quads ? 'vec2<u32>' : 'u32'
}

export function bindings(options: MatmulOptions): Record<MatmulBinding, Binding> {
  const { a, b, out, nativeF16, quadsA, quadsB, partial, transposeB } = options
  return {
    a: read(element(a, nativeF16, quadsA)),
    b: read(element(b, nativeF16, quadsB)),
    ...(b === 'i8' && !(partial && transposeB) ? { scales: read('f32') } : {}),
    ...(partial ? {} : epilogueBindings(options)),
    ...(options.rowSums ? { rowSums: readWrite('f32') } : {}),
    out: readWrite(partial ? 'f32' : out),
  } as Record<MatmulBinding, Binding>
}

export const epilogueBindings = (options: Epilogue): Partial<Record<MatmulBinding, Binding>> => ({
  ...(options.bias ? { bias: read('f32') } : {}),
  ...(options.layerScale ? { layerScale: read('f32') } : {}),
  ...(options.residual ? { residual: read(options.out) } : {}),
})

/** `readName(i)`: element i of the operand, or with quads elements i to i + 3, i a multiple of four. */
function readWgsl(
  name: string,
  storage: MatmulStorage,
  nativeF16: boolean,
  quads: boolean,
): string {
  const single = {
    f32: `${name}[i]`,
    f16: nativeF16 ? `f32(${name}[i])` : `unpack2x16float(${name}[i >> 1u] >> ((i & 1u) * 16u)).x`,
    i8: `f32(extractBits(bitcast<i32>(${name}[i >> 2u]), (i & 3u) * 8u, 8u))`,
  }
  const word = `${name}[i >> 2u]`
  const four = {
    f32: word,
    f16: nativeF16
      ? `vec4f(${word})`
      : `vec4f(unpack2x16float(${word}.x), unpack2x16float(${word}.y))`,
    i8: `vec4f((vec4i(bitcast<i32>(${word})) << vec4u(24, 16, 8, 0)) >> vec4u(24))`,
  }
  return `fn read${name.toUpperCase()}(i: u32) -> ${valueType(quads)} { return ${(quads ? four : single)[storage]}; }`
}

/** What one load of an operand gives. */
export const valueType = (quads: boolean): 'vec4f' | 'f32' => (quads ? 'vec4f' : 'f32')

/** `finish(sum, index, column)`: the epilogue of element `index`, in `column`; and `put(index, value)`. */
export function epilogueWgsl(options: Epilogue, scales: boolean): string {
  const { bias, activation, layerScale, residual, out } = options
  const place = bias === 'each' ? 'index / (params.m * params.n) * params.n + column' : 'column'
  const scaled = `sum${scales ? ' * scales[column]' : ''}${bias ? ` + bias[${place}]` : ''}`
  const value = `activate(${scaled})${layerScale ? ' * layerScale[column]' : ''}`
  return /* wgsl */ `
${activationWgsl(activation)}
fn finish(sum: f32, index: u32, column: u32) -> f32 {
  return ${value}${residual ? ' + f32(residual[index])' : ''};
}
fn put(index: u32, value: f32) { out[index] = ${out}(value); }
`
}

/** Partial sums are stored by the text of a plain f32 product, so that both share a pipeline. */
export const plainEpilogue: Epilogue = {
  bias: false,
  activation: 'none',
  layerScale: false,
  residual: false,
  out: 'f32',
}

/**
 * `loadA(base, row, k)` and `loadB(base, k, column)`, with quads the four elements from there on, within the matrices that start at `base`;
 * `store(base, row, column, sum)` with the epilogue; and `slabOf(index)`: what one matrix of the batch
 * and one stretch of k read and write.
 */
export function accessWgsl(options: MatmulOptions): string {
  const { transposeA, transposeB, a, b, nativeF16, quadsA, quadsB, partial } = options
  const indexA = transposeA ? 'k * params.m + row' : 'row * params.k + k'
  const indexB = transposeB ? 'column * params.k + k' : 'k * params.n + column'
  const scale = b === 'i8' && !transposeB ? ' * scales[k]' : ''
  return /* wgsl */ `
${readWgsl('a', a, nativeF16, quadsA)}
${readWgsl('b', b, nativeF16, quadsB)}
${epilogueWgsl(partial ? plainEpilogue : options, !partial && scalesColumns(options))}
fn loadA(base: u32, row: u32, k: u32) -> ${valueType(quadsA)} { return readA(base + ${indexA}); }
fn loadB(base: u32, k: u32, column: u32) -> ${valueType(quadsB)} { return readB(base + ${indexB})${scale}; }
${slabWgsl}`
}

/** The parts of {@link accessWgsl} that don't depend on the operands. */
export const slabWgsl = /* wgsl */ `
fn store(base: u32, row: u32, column: u32, sum: f32) {
  let index = base + row * params.n + column;
  put(index, finish(sum, index, column));
}
struct Slab { a: u32, b: u32, out: u32, start: u32, end: u32 }
fn slabOf(index: u32) -> Slab {
  let item = index % params.batch;
  let start = index / params.batch * params.depth;
  return Slab(
    item * params.strideA,
    item * params.strideB,
    index * params.m * params.n,
    start,
    min(start + params.depth, params.k),
  );
}
`

/** One workgroup for each block of `rows` × `columns` of every slab; see {@link blockWgsl}. */
export const blockWorkgroups =
  (rows: number, columns: number) =>
  ({ m, n, slabs }: Readonly<Record<MatmulParam, number>>): Workgroups =>
    linearWorkgroups(Math.ceil(m / rows) * Math.ceil(n / columns) * slabs, 1)

/**
 * The start of an entry point: `slab`, and `rowBase` and `columnBase` of this workgroup's block. Blocks
 * of one slab are neighbours, those of one row of blocks next to each other.
 */
export const blockWgsl = (rows: number, columns: number): string => /* wgsl */ `
  let across = (params.n + ${columns - 1}u) / ${columns}u;
  let blocks = across * ((params.m + ${rows - 1}u) / ${rows}u);
  let group = linearWorkgroup(id, count);
  if (group >= blocks * params.slabs) { return; }
  let slab = slabOf(group / blocks);
  let rowBase = group % blocks / across * ${rows}u;
  let columnBase = group % across * ${columns}u;`
