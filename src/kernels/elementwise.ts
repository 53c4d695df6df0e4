import {
  defineKernel,
  kernelFamily,
  mainWgsl,
  linearWorkgroups,
  read,
  readWrite,
  type Kernel,
  type ParameterType,
} from './kernel.ts'
import { storageFeatures, storedType, type FloatStorage } from './storage.ts'
import { range } from './template.ts'
import { placeParams, walkFrom, walkOn, walkParams } from './walk.ts'

/**
 * Elementwise kernels over vec4s, any number of elements: the last vec4 is stored component by
 * component, since what lies behind a tensor may be another's.
 */

/** Threads of a workgroup, and the vec4s between those of one thread. */
export const MAP_GROUP = 64
const GROUP = MAP_GROUP

/** vec4s that a thread takes. Starting threads is what a software adapter spends its time on. */
export type Each = 4 | 16
export const eachThread = (software: boolean): Each => (software ? 16 : 4)

/**
 * How an input spreads over the output. `whole`: element for element. `row`: a whole number of vec4s
 * that repeats, `<name>Period` vec4s long. `scalar`: one element for all. `strided<R>`: a stride for
 * each of the R dimensions of the output, `<name>0` onward, 0 where it repeats; the sizes of the
 * dimensions after the first are `d1` onward, the same for all strided inputs, and `first` counts the
 * elements before the output's own. `quads<R>` and `splat<R>` are the same where the last dimension of
 * the output is a whole number of vec4s, in which it is counted: of an input that has them too, and of
 * one that repeats along it. Their parameters are those of a walk in steps of {@link MAP_GROUP}.
 */
export type Spread = 'whole' | 'row' | 'scalar' | Strided | Walked
export type Strided = 'strided2' | 'strided3' | 'strided4' | 'strided5'

export type Walked = `${'quads' | 'splat'}${2 | 3 | 4 | 5}`

/** Dimensions of a spread with strides, 0 for the others. */
const rankOf = (spread: Spread): number =>
  Number(/^(strided|quads|splat)(.)$/.exec(spread)?.[2] ?? 0)
const isWalked = (spread: Spread): boolean => /^(quads|splat)/.test(spread)

interface MapOptions<B extends string, P extends string> {
  readonly label: string
  readonly inputs: Readonly<Record<B, Spread>>
  /** Inputs of u32, which the expression sees as such. */
  readonly integers?: readonly string[]
  /** Name of the output. Default `out`. */
  readonly output?: string
  /** Parameters that the expression reads. */
  readonly params?: Readonly<Record<P, ParameterType>>
  /** WGSL functions that the expression calls. */
  readonly helpers?: string
  /** Bindings that are stored as f16; the others are f32, and so are the values of the expression. */
  readonly halves?: readonly (B | 'out')[] | undefined
  /** The output's value by the inputs' values, each named as its input. */
  readonly expression: string
  readonly each: Each
}

/** Bindings: the inputs in their order, then the output. Params: `size`, spreads, then the own ones. */
export function mapKernel<B extends string, P extends string = never>(
  options: MapOptions<B, P>,
): Kernel<string, string> {
  const { label, inputs, output = 'out', params, helpers = '', expression, each } = options
  const halves = new Set<string>(options.halves)
  const storage = (name: string) => (halves.has(name) ? 'f16' : 'f32')
  const typeOf = (name: string): 'u32' | 'f32' => (options.integers?.includes(name) ? 'u32' : 'f32')
  const vectorOf = (name: string): string => (typeOf(name) === 'u32' ? 'vec4u' : 'vec4f')
  /** How an input is bound. */
  const boundAs = (name: string, vector: boolean) =>
    typeOf(name) === 'f32' ? storedType(storage(name), vector) : vector ? 'vec4<u32>' : 'u32'
  /** What is read of an input, as f32 or u32. */
  const four = (name: string, text: string): string => (halves.has(name) ? `vec4f(${text})` : text)
  const one = (name: string, text: string): string => (halves.has(name) ? `f32(${text})` : text)
  const entries = Object.entries<Spread>(inputs)
  const names = entries.map(([name]) => name)
  const rank = Math.max(0, ...entries.map(([, spread]) => rankOf(spread)))
  const walked = entries.filter(([, spread]) => isWalked(spread)).map(([name]) => name)
  const dimensions = range(rank).slice(1)
  const spreadParams = entries.flatMap(([name, spread]) => {
    if (spread === 'row') return [`${name}Period`]
    if (isWalked(spread)) return placeParams(name, rank)
    return range(rankOf(spread)).map((i) => `${name}${i}`)
  })
  const strided = rank > 0 ? ['first'] : []
  const sizes = walked.length > 0 ? walkParams(rank) : dimensions.map((i) => `d${i}`)
  const whole32 = ['size', ...strided, ...sizes, ...spreadParams]
  const rows = entries.filter(([, spread]) => spread === 'row').map(([name]) => name)
  const inColumns = each === 16 && rows.length === 1 && rank === 0
  const whole = entries.map(([name, spread]) => {
    if (spread === 'whole') return four(name, `${name}[v]`)
    if (spread === 'row') return inColumns ? `${name}Row` : four(name, `${name}[${name}At]`)
    if (spread === 'scalar') return `${vectorOf(name)}(${one(name, `${name}[0].x`)})`
    if (spread.startsWith('splat')) return `${vectorOf(name)}(${one(name, `${name}[${name}At]`)})`
    if (isWalked(spread)) return four(name, `${name}[${name}At]`)
    const places = [0, 1, 2, 3].map((c) => one(name, `${name}[${name}Place(4u * v + ${c}u)]`))
    return `${vectorOf(name)}(${places.join(', ')})`
  })
  const single = entries.map(([name, spread]) => {
    if (spread === 'whole') return one(name, `${name}[v][c]`)
    if (spread === 'row') return one(name, `${name}[v % params.${name}Period][c]`)
    if (isWalked(spread)) return `${typeOf(name)}()`
    return one(name, spread === 'scalar' ? `${name}[0].x` : `${name}[${name}Place(4u * v + c)]`)
  })
  const parameters = names.map((name) => `${name}: ${typeOf(name)}`).join(', ')
  const vectors = names.map((name) => `${name}: ${vectorOf(name)}`).join(', ')
  const component = (c: string): string => `value(${names.map((n) => `${n}.${c}`).join(', ')})`
  const places = entries
    .filter(([, spread]) => spread.startsWith('strided'))
    .map(([name]) => place(name, rank))
  const share = GROUP * each
  const put = `${output}[v] = ${storedType(storage(output), true)}(values(${whole.join(', ')}));`
  const spreadAs = (kind: Spread): string[] => names.filter((name) => inputs[name as B] === kind)
  const whollySpread = spreadAs('whole')
  const periods = spreadAs('row').map((name) => `${name}Period`)
  return defineKernel<string, string>({
    label,
    features: storageFeatures(...[...names, output].map(storage)),
    bindings: {
      ...Object.fromEntries(
        entries.map(([name, spread]) => {
          return [name, read(boundAs(name, !/^(strided|splat)/.test(spread)))]
        }),
      ),
      [output]: readWrite(storedType(storage(output), true)),
    },
    params: { ...Object.fromEntries(whole32.map((name) => [name, 'u32' as const])), ...params },
    splits: [
      {
        along: 'size',
        ...(rank > 0 ? { offset: 'first' } : {}),
        per: Object.fromEntries([output, ...whollySpread].map((name) => [name, 1])),
        step: (params) =>
          periods.reduce(
            (step, name) => commonMultiple(step, 4 * params[name]!),
            walked.length > 0 ? 4 : 1,
          ),
      },
    ],
    workgroups: (params) =>
      inColumns
        ? linearWorkgroups(columnThreads(params['size']!, params[periods[0]!]!), GROUP)
        : linearWorkgroups(params['size']!, 4 * share),
    wgsl: /* wgsl */ `${helpers}${places.join('')}
fn value(${parameters}) -> f32 { return ${expression}; }
fn values(${vectors}) -> vec4f {
  return vec4f(${['x', 'y', 'z', 'w'].map(component).join(', ')});
}
${mainWgsl(GROUP)} {
  ${
    inColumns
      ? columnLoop(rows[0]!, four(rows[0]!, `${rows[0]!}[column]`), put)
      : /* wgsl */ `
  let start = linearWorkgroup(id, count) * ${share}u;
  let full = params.size / 4u;
  let end = min(start + ${share}u, full);
  ${rows.map(firstAt).join('\n  ')}
  ${walked.length > 0 ? walkFrom('params.first / 4u + start + thread', walked, rank) : ''}
  for (var v = start + thread; v < end; v += ${GROUP}u) {
    ${put}
    ${rows.map(nextAt).join('\n    ')}
    ${walked.length > 0 ? walkOn(walked, rank) : ''}
  }
  ${walked.length > 0 ? '' : rest(output, storage(output), single, share)}`
  }
}
`,
  })
}

/** The elements behind the last whole vec4, by the workgroup whose share they would be. */
const rest = (
  output: string,
  stored: FloatStorage,
  single: readonly string[],
  share: number,
): string => /* wgsl */ `
  if (thread == 0u && start <= full && full < start + ${share}u) {
    let v = full;
    for (var c = 0u; c < params.size % 4u; c++) {
      let y = ${stored}(value(${single.join(', ')}));
      switch c {
        case 0u: { ${output}[v].x = y; }
        case 1u: { ${output}[v].y = y; }
        default: { ${output}[v].z = y; }
      }
    }
  }
`

/** Rows to a thread that keeps its vec4 of the row that repeats. */
const COLUMN_ROWS = 16

/** Threads for `size` elements in rows of `period` vec4s. */
const columnThreads = (size: number, period: number): number =>
  Math.ceil(size / 4 / (COLUMN_ROWS * period)) * period

/** A thread walks down a vec4 of columns, so that the row's is loaded once. Sizes are whole rows. */
const columnLoop = (row: string, load: string, body: string): string => /* wgsl */ `
  let period = params.${row}Period;
  let t = linearWorkgroup(id, count) * ${GROUP}u + thread;
  let part = t / period;
  let column = t - part * period;
  let ${row}Row = ${load};
  let first = part * ${COLUMN_ROWS}u * period + column;
  let end = min(first + ${COLUMN_ROWS}u * period, params.size / 4u);
  for (var v = first; v < end; v += period) {
    ${body}
  }
`

function commonMultiple(a: number, b: number): number {
  let [divisor, rest] = [a, b]
  while (rest > 0) [divisor, rest] = [rest, divisor % rest]
  return (a / divisor) * b
}

/** The place in a row that repeats, stepped along instead of divided for at every vec4. */
const firstAt = (name: string): string =>
  `var ${name}At = (start + thread) % params.${name}Period;
  let ${name}Step = ${GROUP}u % params.${name}Period;`
const nextAt = (name: string): string =>
  `${name}At += ${name}Step;
    ${name}At -= select(0u, params.${name}Period, ${name}At >= params.${name}Period);`

/** The place of output element `i` in a strided input. */
const place = (name: string, rank: number): string => /* wgsl */ `
fn ${name}Place(i: u32) -> u32 {
  var rest = params.first + i;
  var at = 0u;
  ${range(rank)
    .slice(1)
    .reverse()
    .map((d) => {
      // One division: CPU rasterisers have no vector instruction for it.
      const quotient = `let q${d} = rest / params.d${d};`
      return `${quotient} at += (rest - q${d} * params.d${d}) * params.${name}${d}; rest = q${d};`
    })
    .join('\n  ')}
  return at + rest * params.${name}0;
}
`

type Simple<B extends string, P extends string> = Kernel<B, P>

/** out = value */
export const fillKernel = mapKernel({
  label: 'fill',
  inputs: {},
  params: { value: 'f32' },
  expression: 'params.value',
  each: 4,
}) as Simple<'out', 'size' | 'value'>

/** out = scale · x */
export const scaleKernels = kernelFamily(
  ({ each, half }: { readonly each: Each; readonly half?: boolean }) =>
    mapKernel({
      label: `scale.${each}${half ? '.f16' : ''}`,
      inputs: { x: 'whole' },
      halves: half ? ['x', 'out'] : [],
      params: { scale: 'f32' },
      expression: 'params.scale * x',
      each,
    }) as Simple<'x' | 'out', 'size' | 'scale'>,
)
export const scaleKernel = scaleKernels({ each: 4 })

/** out = factor[0] · x */
export const scaleByKernel = mapKernel({
  label: 'scaleBy',
  inputs: { x: 'whole', factor: 'scalar' },
  expression: 'factor * x',
  each: 4,
}) as Simple<'x' | 'factor' | 'out', 'size'>

/** out = a + b, of equal sizes */
export const addKernel = mapKernel({
  label: 'add',
  inputs: { a: 'whole', b: 'whole' },
  expression: 'a + b',
  each: 4,
}) as Simple<'a' | 'b' | 'out', 'size'>
