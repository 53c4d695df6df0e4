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
    variant,
  ].join('.')
}

export const epilogueNames = ({ bias, activation, layerScale, residual }: Epilogue): string[] =>
  [
    bias ? 'bias' : '',
    activation === 'none' ? '' : activation,
    layerScale ? 'layerScale' : '',
    residual ? 'residual' : '',
  ].filter(Boolean)

export const hasEpilogue = (options: MatmulOptions): boolean =>
  !options.partial && (epilogueNames(options).length > 0 || scalesColumns(options))

export const features = ({ a, b, out, nativeF16 }: MatmulOptions): KernelFeature[] =>
  nativeF16 && [a, b, out].includes('f16') ? ['shader-f16'] : []

const element = (storage: MatmulStorage, nativeF16: boolean): ElementType =>
  storage === 'f32' ? 'f32' : storage === 'f16' && nativeF16 ? 'f16' : 'u32'

export function bindings(options: MatmulOptions): Record<MatmulBinding, Binding> {
  const { a, b, out, nativeF16, partial, transposeB } = options
  return {
    a: read(element(a, nativeF16)),
    b: read(element(b, nativeF16)),
    ...(b === 'i8' && !(partial && transposeB) ? { scales: read('f32') } : {}),
    ...(partial ? {} : epilogueBindings(options)),
    out: readWrite(partial ? 'f32' : out),
  } as Record<MatmulBinding, Binding>
}

export const epilogueBindings = (options: Epilogue): Partial<Record<MatmulBinding, Binding>> => ({
  ...(options.bias ? { bias: read('f32') } : {}),
  ...(options.layerScale ? { layerScale: read('f32') } : {}),
  ...(options.residual ? { residual: read(options.out) } : {}),
})

/** `readName(i)`: element i of the operand. */
function readWgsl(name: string, storage: MatmulStorage, nativeF16: boolean): string {
  const words = {
    f32: `${name}[i]`,
    f16: nativeF16 ? `f32(${name}[i])` : `unpack2x16float(${name}[i >> 1u] >> ((i & 1u) * 16u)).x`,
    i8: `f32(extractBits(bitcast<i32>(${name}[i >> 2u]), (i & 3u) * 8u, 8u))`,
  }
  return `fn read${name.toUpperCase()}(i: u32) -> f32 { return ${words[storage]}; }`
}

/** `finish(sum, index, column)`: the epilogue of element `index`, in `column`; and `put(index, value)`. */
export function epilogueWgsl(options: Epilogue, scales: boolean): string {
  const { bias, activation, layerScale, residual, out } = options
  const scaled = `sum${scales ? ' * scales[column]' : ''}${bias ? ' + bias[column]' : ''}`
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
const plainEpilogue: Epilogue = {
  bias: false,
  activation: 'none',
  layerScale: false,
  residual: false,
  out: 'f32',
}

/**
 * `loadA(base, row, k)` and `loadB(base, k, column)` within the matrices that start at `base`;
 * `store(base, row, column, sum)` with the epilogue; and `slabOf(index)`: what one matrix of the batch
 * and one stretch of k read and write.
 */
export function accessWgsl(options: MatmulOptions): string {
  const { transposeA, transposeB, a, b, nativeF16, partial } = options
  const indexA = transposeA ? 'k * params.m + row' : 'row * params.k + k'
  const indexB = transposeB ? 'column * params.k + k' : 'k * params.n + column'
  const scale = b === 'i8' && !transposeB ? ' * scales[k]' : ''
  return /* wgsl */ `
${readWgsl('a', a, nativeF16)}
${readWgsl('b', b, nativeF16)}
${epilogueWgsl(partial ? plainEpilogue : options, !partial && scalesColumns(options))}
fn loadA(base: u32, row: u32, k: u32) -> f32 { return readA(base + ${indexA}); }
fn loadB(base: u32, k: u32, column: u32) -> f32 { return readB(base + ${indexB})${scale}; }
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
}

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
