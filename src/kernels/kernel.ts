/**
 * A kernel is data: WGSL text, what it binds, and how many workgroups a problem needs. It holds no
 * GPU object, so it can be printed, tested and cached by its text.
 */

/** How a kernel touches a bound buffer. */
export type Access = 'read' | 'readWrite'

/** Element type of a bound array, as WGSL spells it. */
export type ElementType =
  | 'f32'
  | 'u32'
  | 'i32'
  | 'f16'
  | 'atomic<u32>'
  | 'vec2<f32>'
  | 'vec4<f32>'
  | 'vec2<u32>'
  | 'vec4<u32>'
  | 'vec4<f16>'

export interface Binding {
  readonly access: Access
  readonly type: ElementType
}

export type ParameterType = 'u32' | 'f32'

/** Workgroup counts in x, y and z. */
export type Workgroups = readonly [number, number, number]

/** Optional WebGPU features that a kernel may need. */
export type KernelFeature = 'subgroups' | 'shader-f16'

/**
 * How a family's kernels are written. `tile`: operands staged in workgroup memory, for GPUs.
 * `subgroup8`, `subgroup4`: a workgroup is one subgroup of that many lanes, operands are loaded once
 * and broadcast from registers. On CPU rasterisers a load costs ten times a broadcast, which makes
 * this several times faster there.
 */
export type KernelVariant = 'tile' | 'subgroup8' | 'subgroup4'

/** What a dispatch has to do at least, for profiles. */
export interface KernelCost {
  /** Floating-point operations; a multiply-add counts two. */
  readonly flops?: number
  /** Bytes read and written once each; left out: all that is bound. */
  readonly bytes?: number
}

/**
 * How a problem is cut when a tensor of it is larger than one binding may be: along a parameter that
 * counts independent units (elements, rows, images), into dispatches of the same kernel, each of which
 * sees its own units as if they were all. What a cut computes must not depend on where its part begins,
 * unless the kernel takes that as `offset`.
 */
export interface Split<B extends string = string, P extends string = string> {
  /** The parameter that counts units; a part gets its own number. */
  readonly along: P
  /** The parameter that receives how many units precede a part. */
  readonly offset?: P
  /** Elements of a binding to each unit. Bindings left out, or with 0, are bound whole by every part. */
  readonly per: Readonly<
    Partial<Record<B, number | ((params: Readonly<Record<P, number>>) => number)>>
  >
  /** A cut lies at a multiple of so many units. */
  readonly step?: number | ((params: Readonly<Record<P, number>>) => number)
}

/**
 * @typeParam B names of the bindings; their order is the order of binding numbers
 * @typeParam P names of the parameters, fields of the uniform `params`
 */
export interface Kernel<B extends string = string, P extends string = string> {
  /** Name of the kernel and its variant, for labels, errors and profiles. */
  readonly label: string
  readonly bindings: Readonly<Record<B, Binding>>
  readonly params: Readonly<Record<P, ParameterType>>
  /** Everything after the binding declarations; the entry point is `main`. */
  readonly wgsl: string
  readonly features?: readonly KernelFeature[]
  /**
   * Ways to cut a problem beyond one binding; the first that fits is taken, else two that cut different
   * bindings, one within the other.
   */
  readonly splits?: readonly Split<NoInfer<B>, NoInfer<P>>[]
  workgroups(params: Readonly<Record<P, number>>): Workgroups
  /** For profiles, where arithmetic bounds the kernel or it touches only a part of what it binds. */
  cost?(params: Readonly<Record<P, number>>): KernelCost
}

export const read = (type: ElementType): Binding => ({ access: 'read', type })
export const readWrite = (type: ElementType): Binding => ({ access: 'readWrite', type })

/** Returns its argument with the binding and parameter names inferred. */
export function defineKernel<B extends string, P extends string>(
  kernel: Kernel<B, P>,
): Kernel<B, P> {
  return kernel
}

/** Memoises a family of kernels by the text of its options, so that equal options share a pipeline. */
export function kernelFamily<O, K>(make: (options: O) => K): (options: O) => K {
  const made = new Map<string, K>()
  return (options) => {
    const key = JSON.stringify(options)
    let kernel = made.get(key)
    if (kernel === undefined) made.set(key, (kernel = make(options)))
    return kernel
  }
}

/**
 * Cuts flat arrays of parameters along `quads`, vec4s, at blocks when there are `groups`, two numbers
 * for each `block` vec4s.
 */
export const splitQuads = <B extends string>(
  groups: boolean,
  arrays: readonly B[],
): Split<B, 'quads' | 'block'> => {
  const per = Object.fromEntries(arrays.map((name) => [name, 4]))
  const ofGroups = { groups: ({ block }: { readonly block: number }) => 2 / block }
  return {
    along: 'quads',
    per: { ...per, ...(groups ? ofGroups : {}) } as Split<B, 'quads' | 'block'>['per'],
    step: groups ? ({ block }) => block : 1,
  }
}

/** Cuts matrices [rows, columns] by rows; `others` are bindings with so many elements to a row. */
export const splitRows = <B extends string>(
  matrices: readonly B[],
  others?: Readonly<Partial<Record<B, number>>>,
): Split<B, 'rows' | 'columns'> => {
  const columns = ({ columns }: { readonly columns: number }): number => columns
  const per = Object.fromEntries(matrices.map((name) => [name, columns]))
  return { along: 'rows', per: { ...per, ...others } as Split<B, 'rows' | 'columns'>['per'] }
}

/** The whole WGSL module: features, `params`, bindings in order, then the kernel's own text. */
export function kernelSource(kernel: Kernel): string {
  const lines = (kernel.features ?? []).map((feature) => {
    return feature === 'shader-f16' ? 'enable f16;' : `enable ${feature};`
  })
  const bindings = Object.entries(kernel.bindings)
  bindings.forEach(([name, { access, type }], index) => {
    const mode = access === 'read' ? 'read' : 'read_write'
    lines.push(`@group(0) @binding(${index}) var<storage, ${mode}> ${name}: array<${type}>;`)
  })
  const params = Object.entries<ParameterType>(kernel.params)
  if (params.length > 0) {
    lines.push(`struct Params { ${params.map(([name, type]) => `${name}: ${type}`).join(', ')} }`)
    lines.push(`@group(0) @binding(${bindings.length}) var<uniform> params: Params;`)
  }
  return `${lines.join('\n')}\n${kernel.wgsl}`
}

/** The bytes of `params` for one dispatch, padded to the 16 bytes that a uniform struct is rounded to. */
export function packParams<P extends string>(
  kernel: Kernel<string, P>,
  values: Readonly<Record<P, number>>,
): ArrayBuffer {
  const names = Object.keys(kernel.params) as P[]
  const data = new DataView(new ArrayBuffer(Math.ceil(names.length / 4) * 16))
  names.forEach((name, index) => {
    if (kernel.params[name] === 'f32') data.setFloat32(index * 4, values[name], true)
    else data.setUint32(index * 4, values[name], true)
  })
  return data.buffer
}

/** The inverse of {@link packParams}. */
export function unpackParams(kernel: Kernel, bytes: ArrayBuffer): Record<string, number> {
  const data = new DataView(bytes)
  const values = Object.entries<ParameterType>(kernel.params).map(([name, type], index) => {
    const read = type === 'f32' ? data.getFloat32(index * 4, true) : data.getUint32(index * 4, true)
    return [name, read] as const
  })
  return Object.fromEntries(values)
}

/** The largest number of workgroups in one dimension that every adapter takes. */
export const MAX_WORKGROUPS = 65535

/** Workgroups for `count` items of `size` each, spilling into y past the limit of x; see {@link linearIdWgsl}. */
export function linearWorkgroups(count: number, size: number): Workgroups {
  const groups = Math.max(1, Math.ceil(count / size))
  const y = Math.ceil(groups / MAX_WORKGROUPS)
  return [Math.ceil(groups / y), y, 1]
}

/** WGSL twin of {@link linearWorkgroups}: the flat index of this invocation's workgroup. */
export const linearIdWgsl = /* wgsl */ `
fn linearWorkgroup(id: vec3u, count: vec3u) -> u32 { return id.x + id.y * count.x; }
`

/**
 * The head of an entry point of `size` invocations, with `id` and `count` for `linearWorkgroup(id,
 * count)`, the flat index of the workgroup, and `thread`, the invocation's place in it.
 */
export const mainWgsl = (size: number): string => /* wgsl */ `${linearIdWgsl}
@compute @workgroup_size(${size})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
)`

/** The same of one subgroup a workgroup, whose invocations are `lane`. */
export const subgroupMainWgsl = (lanes: number): string => /* wgsl */ `${linearIdWgsl}
@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
)`
