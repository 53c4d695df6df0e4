import type { LinearWeight } from '../runtime/ops/linear.ts'
import { formatShape, sameShape, sizeOf, type Shape } from '../runtime/shape.ts'
import type { Tensor } from '../runtime/tensor.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { someOf } from './misfit.ts'
import type { SafetensorsDtype } from './safetensorsHeader.ts'
import { scalesNames, WEIGHT_DTYPES } from './storedTensor.ts'

/** What is known of a checkpoint before its tensors are read. */
export interface CheckpointIndex {
  readonly tensors: ReadonlyMap<
    string,
    { readonly shape: Shape; readonly dtype?: SafetensorsDtype }
  >
}

/** Weights in memory; a `SafetensorsFile` is one. */
export interface Checkpoint extends CheckpointIndex {
  /** The values of a tensor as a new array. */
  float32(name: string): Float32Array
}

/**
 * What a weight is used for: `matrix`, the weight of a linear layer [out, in], kept in the dtype that was
 * chosen; `plain`, f32 on the device; `host`, f32 on the host, where it is worked on before it is used.
 */
export type SlotKind = 'matrix' | 'plain' | 'host'

/** A tensor of the file that makes (a part of) a slot. */
export interface Piece {
  readonly name: string
  readonly shape: Shape
  /** The file has [in, out] of a slot's [out, in]. */
  readonly transposed: boolean
  /** Of an I8 tensor: the tensor with its scales. */
  readonly scales: string | undefined
}

/** A weight that a model takes: which tensors of the file it is made of, and what it is for. */
export class Slot<K extends SlotKind = SlotKind> {
  readonly kind: K
  /** Of the whole; the pieces follow each other along its first dimension. */
  readonly shape: Shape
  readonly pieces: readonly Piece[]
  /** Zeros before the first piece. */
  readonly zeros: number
  /** Of a matrix: what is added to its products. */
  readonly bias: Slot<'plain'> | undefined
  /** Whether a file with anything but zeros here is another kind of model. */
  readonly vanishing: boolean

  constructor(
    kind: K,
    shape: Shape,
    pieces: readonly Piece[],
    {
      zeros = 0,
      bias,
      vanishing = false,
    }: { zeros?: number; bias?: Slot<'plain'>; vanishing?: boolean } = {},
  ) {
    this.kind = kind
    this.shape = shape
    this.pieces = pieces
    this.zeros = zeros
    this.bias = bias
    this.vanishing = vanishing
  }

  /** Its tensors' names, for messages. */
  get label(): string {
    return this.pieces.map(({ name }) => name).join(' + ')
  }
}

/** What stands for each kind of weight: slots, host arrays, or tensors. */
export interface Leaves {
  readonly matrix: unknown
  readonly plain: unknown
  readonly host: unknown
}
export interface SlotLeaves extends Leaves {
  readonly matrix: Slot<'matrix'>
  readonly plain: Slot<'plain'>
  readonly host: Slot<'host'>
}
export interface HostLeaves extends Leaves {
  readonly matrix: Float32Array
  readonly plain: Float32Array
  readonly host: Float32Array
}
/** On the device, as loading leaves them. */
export interface DeviceLeaves extends Leaves {
  readonly matrix: LinearWeight
  readonly plain: Tensor<'f32'>
  readonly host: Float32Array
}
/** What models are made from: host arrays, which they upload, or tensors, which they take over. */
export interface AnyLeaves extends Leaves {
  readonly matrix: HostLeaves['matrix'] | DeviceLeaves['matrix']
  readonly plain: HostLeaves['plain'] | DeviceLeaves['plain']
  readonly host: Float32Array
}

export interface NormWeights<L extends Leaves = HostLeaves> {
  readonly weight: L['plain']
  readonly bias: L['plain']
}

export interface LinearWeights<L extends Leaves = HostLeaves> {
  /** [out, in] */
  readonly weight: L['matrix']
  readonly bias: L['plain']
}

export interface BlockWeights<L extends Leaves = HostLeaves> {
  readonly norm1: NormWeights<L>
  /** [3D, D]: query, key, value. */
  readonly qkv: LinearWeights<L>
  readonly out: LinearWeights<L>
  readonly norm2: NormWeights<L>
  readonly fc1: LinearWeights<L>
  readonly fc2: LinearWeights<L>
  /** [D] each: factors of the attention's and of the MLP's output before they are added (DINOv2). */
  readonly layerScales: readonly [L['plain'], L['plain']] | undefined
}

/** How one lineage of files names the parts of its transformer blocks; `N` stands for the block's number. */
export interface BlockNames {
  readonly block: string
  readonly norm1: string
  readonly norm2: string
  /** One fused projection, or the three of query, key and value. */
  readonly qkv: { readonly fused: string } | { readonly parts: readonly [string, string, string] }
  readonly out: string
  readonly fc1: string
  readonly fc2: string
  readonly layerScales?: readonly [string, string]
}

/** A projection without bias; `transposed`: the file has it as [in, out]. */
export interface ProjectionName {
  readonly name: string
  readonly transposed: boolean
}

/** More blocks than any model has; a name with a larger number is no block's. */
const MAX_BLOCKS = 1000

/**
 * Finds a transformer's weights in a checkpoint. Nothing is read: slots say what to read, and
 * {@link CheckpointReader.finish} throws with all that does not fit.
 */
export class CheckpointReader {
  readonly #file: CheckpointIndex
  readonly #label: string
  readonly #prefix: string
  readonly #taken = new Set<string>()
  readonly #missing: string[] = []
  readonly #unlike: string[] = []
  readonly #problems: string[] = []

  /** @param label the kind of checkpoint, for errors */
  constructor(file: CheckpointIndex, label: string, prefix: string) {
    this.#file = file
    this.#label = label
    this.#prefix = prefix
  }

  /** The shape of a tensor, if there is one. */
  find(name: string): Shape | undefined {
    return this.#file.tensors.get(this.#prefix + name)?.shape
  }

  /** A tensor of one of these shapes; the first is the slot's. */
  take<K extends SlotKind>(kind: K, name: string, ...shapes: [Shape, ...Shape[]]): Slot<K> {
    return new Slot(kind, shapes[0], [this.piece(name, shapes)])
  }

  norm(name: string, size: number): NormWeights<SlotLeaves> {
    return {
      weight: this.take('plain', `${name}.weight`, [size]),
      bias: this.take('plain', `${name}.bias`, [size]),
    }
  }

  dense(name: string, out: number, inner: number): LinearWeights<SlotLeaves> {
    return this.#linear([out, inner], [`${name}.weight`], [`${name}.bias`])
  }

  /** [out, inner], whichever way the file has it. */
  projection({ name, transposed }: ProjectionName, out: number, inner: number): Slot<'matrix'> {
    const shape = transposed ? [inner, out] : [out, inner]
    return new Slot('matrix', [out, inner], [{ ...this.piece(name, [shape]), transposed }])
  }

  /** Every block there is, of width D, with heads of 64 as all published models have. */
  blocks(
    names: BlockNames,
    hiddenSize: number,
  ): { blocks: BlockWeights<SlotLeaves>[]; heads: number; mlpSize: number } {
    const nameOf = (index: number): string => names.block.replace('N', String(index))
    const layers = this.#countBlocks(names.block.slice(0, -1))
    const all = Array.from({ length: layers }, (_, index) => nameOf(index))
    const mlpSize =
      all.map((block) => this.find(`${block}.${names.fc1}.weight`)?.[0]).find(Boolean) ?? 0
    const heads = hiddenSize / 64
    if (!Number.isInteger(heads) || heads === 0) {
      this.problem(`its width ${hiddenSize} is no multiple of 64, the size of a head`)
    }
    const blocks = all.map((block): BlockWeights<SlotLeaves> => {
      return {
        norm1: this.norm(`${block}.${names.norm1}`, hiddenSize),
        qkv: this.#qkv(block, names.qkv, hiddenSize),
        out: this.dense(`${block}.${names.out}`, hiddenSize, hiddenSize),
        norm2: this.norm(`${block}.${names.norm2}`, hiddenSize),
        fc1: this.dense(`${block}.${names.fc1}`, mlpSize, hiddenSize),
        fc2: this.dense(`${block}.${names.fc2}`, hiddenSize, mlpSize),
        layerScales: names.layerScales && [
          this.take('plain', `${block}.${names.layerScales[0]}`, [hiddenSize]),
          this.take('plain', `${block}.${names.layerScales[1]}`, [hiddenSize]),
        ],
      }
    })
    return { blocks, heads, mlpSize }
  }

  /** One more than the highest number in a block's name, so that a gap shows as missing. */
  #countBlocks(root: string): number {
    const start = this.#prefix + root
    let layers = 1
    for (const name of this.#file.tensors.keys()) {
      if (!name.startsWith(start)) continue
      const number = /^\d{1,6}(?=\.)/.exec(name.slice(start.length))
      if (number && Number(number[0]) < MAX_BLOCKS) layers = Math.max(layers, Number(number[0]) + 1)
    }
    return layers
  }

  #qkv(block: string, names: BlockNames['qkv'], hiddenSize: number): LinearWeights<SlotLeaves> {
    const shape = [3 * hiddenSize, hiddenSize] as const
    if ('fused' in names) {
      return this.#linear(shape, [`${block}.${names.fused}weight`], [`${block}.${names.fused}bias`])
    }
    const all = names.parts.map((part) => `${block}.${part}`)
    return this.#linear(
      shape,
      all.map((part) => `${part}.weight`),
      all.map((part) => `${part}.bias`),
    )
  }

  /** A layer [out, in] whose weights lie in as many tensors of equal size as there are names. */
  #linear(
    [out, inner]: readonly [number, number],
    weights: readonly string[],
    biases: readonly string[],
  ): LinearWeights<SlotLeaves> {
    const rows = out / weights.length
    const pieces = weights.map((name) => this.piece(name, [[rows, inner]]))
    const bias = new Slot(
      'plain',
      [out],
      biases.map((name) => this.piece(name, [[rows]])),
    )
    return { weight: new Slot('matrix', [out, inner], pieces, { bias }), bias }
  }

  /** A piece of one of these shapes; what does not fit is noted. */
  piece(name: string, shapes: readonly Shape[]): Piece {
    const full = this.#prefix + name
    this.#taken.add(full)
    const tensor = this.#file.tensors.get(full)
    let scales: string | undefined
    if (!tensor) this.#missing.push(full)
    else if (!shapes.some((shape) => sameShape(shape, tensor.shape))) {
      const expected = shapes.map(formatShape).join(' or ')
      this.#unlike.push(`${full} has shape ${formatShape(tensor.shape)}, expected ${expected}`)
    } else scales = this.#checkDtype(full, tensor)
    return { name: full, shape: tensor?.shape ?? shapes[0]!, transposed: false, scales }
  }

  #checkDtype(
    name: string,
    { dtype, shape }: { shape: Shape; dtype?: SafetensorsDtype },
  ): string | undefined {
    if (dtype === undefined) return undefined
    if (!WEIGHT_DTYPES.includes(dtype)) {
      this.#problems.push(`${name} is ${dtype}, expected ${WEIGHT_DTYPES.join(', ')}`)
    }
    if (dtype !== 'I8') return undefined
    const [out = 0] = shape
    const scales = scalesNames(name).find((each) => this.#file.tensors.has(each))
    const found = scales === undefined ? undefined : this.#file.tensors.get(scales)!
    if (scales !== undefined) this.#taken.add(scales)
    const fits = found && (sameShape(found.shape, [out]) || sameShape(found.shape, [out, 1]))
    if (!fits || found.dtype !== 'F32' || shape.length < 2) {
      this.#problems.push(
        `${name} is I8 and nothing says what its values stand for: expected a weight [out, …] and ` +
          `${scalesNames(name).join(' or ')}, F32 [${out}], a scale for each output`,
      )
    }
    return scales
  }

  /** Notes a problem in words of its own. */
  problem(problem: string): void {
    this.#problems.push(problem)
  }

  /**
   * @param own beginnings of names that belong to the model: one that nothing took means another
   *   architecture, whose features would be silently wrong
   * @param ignored names of those that files have and models do not need
   * @throws KeeplightError `format` with everything that is missing, of another shape or too much
   */
  finish(own: readonly string[], ignored: RegExp): void {
    const extra = [...this.#file.tensors.keys()].filter((name) => {
      if (this.#taken.has(name) || ignored.test(name) || !name.startsWith(this.#prefix))
        return false
      return own.some((start) => name.slice(this.#prefix.length).startsWith(start))
    })
    const problems = [
      ...this.#problems,
      someOf('tensors are missing', this.#missing),
      someOf('are of another shape', this.#unlike),
      someOf('are none of its tensors', extra),
    ].filter((problem) => problem !== undefined)
    if (problems.length > 0) {
      throw new KeeplightError(
        'format',
        `the file looks like a ${this.#label} checkpoint, but does not fit: ${problems.join('; ')}. ` +
          'Get the file of an architecture that Keeplight has, or export it again',
      )
    }
  }
}

/** A structure of slots with something else in the place of each. */
export function fillSlots<R>(slots: unknown, leafOf: (slot: Slot) => unknown): R {
  const fill = (value: unknown): unknown => {
    if (value instanceof Slot) return leafOf(value)
    if (Array.isArray(value)) return value.map(fill)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, fill(each)]))
  }
  return fill(slots) as R
}

/** All slots of a structure, in its order. */
export function slotsOf(slots: unknown): Slot[] {
  const all: Slot[] = []
  fillSlots(slots, (slot) => all.push(slot))
  return all
}

/** Host arrays of a checkpoint in memory in the place of the slots. */
export function hostWeights<R>(file: Checkpoint, slots: unknown): R {
  return fillSlots(slots, (slot) => {
    const parts = slot.pieces.map(({ name }) => file.float32(name))
    const values = joinPieces(slot, parts)
    assertVanishing(slot, values)
    return values
  })
}

/** @throws KeeplightError `format` when there is something where the model has nothing */
export function assertVanishing({ label, vanishing }: Slot, values: Float32Array): void {
  if (!vanishing || values.every((value) => value === 0)) return
  throw new KeeplightError(
    'format',
    `${label} is not zero: a classifier's head, where a projection of features belongs`,
  )
}

/** A slot's values, [out, in] whichever way the file has them. */
export function joinPieces<A extends Float32Array | Uint16Array | Int8Array>(
  { shape, pieces, zeros }: Slot,
  parts: readonly A[],
): A {
  const [first] = parts
  if (parts.length === 1 && zeros === 0 && !pieces[0]!.transposed) return first!
  const all = new (first!.constructor as new (size: number) => A)(sizeOf(shape))
  let offset = zeros
  parts.forEach((part, i) => {
    const { shape, transposed } = pieces[i]!
    if (transposed) transposeInto(all, offset, part, shape as [number, number])
    else all.set(part, offset)
    offset += part.length
  })
  return all
}

function transposeInto(
  out: Float32Array | Uint16Array | Int8Array,
  offset: number,
  data: Float32Array | Uint16Array | Int8Array,
  [rows, columns]: [number, number],
): void {
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[offset + c * rows + r] = data[r * columns + c]!
  }
}
