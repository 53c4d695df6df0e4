import { KeeplightError } from '../runtime/errors.ts'
import { formatShape, sameShape, type Shape } from '../runtime/shape.ts'

/** Where weights come from; a `SafetensorsFile` is one. */
export interface Checkpoint {
  readonly tensors: ReadonlyMap<string, { readonly shape: Shape }>
  /** The values of a tensor as a new array. */
  float32(name: string): Float32Array
}

export interface NormWeights {
  readonly weight: Float32Array
  readonly bias: Float32Array
}

export interface LinearWeights {
  /** [out, in] */
  readonly weight: Float32Array
  readonly bias: Float32Array
}

export interface BlockWeights {
  readonly norm1: NormWeights
  /** [3D, D]: query, key, value. */
  readonly qkv: LinearWeights
  readonly out: LinearWeights
  readonly norm2: NormWeights
  readonly fc1: LinearWeights
  readonly fc2: LinearWeights
  /** [D] each: factors of the attention's and of the MLP's output before they are added (DINOv2). */
  readonly layerScales: readonly [Float32Array, Float32Array] | undefined
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

/** Copies a transformer's weights out of a checkpoint, checking every shape. */
export class CheckpointReader {
  readonly #file: Checkpoint
  readonly #label: string
  readonly #prefix: string

  /** @param label the kind of checkpoint, for errors */
  constructor(file: Checkpoint, label: string, prefix: string) {
    this.#file = file
    this.#label = label
    this.#prefix = prefix
  }

  has(name: string): boolean {
    return this.#file.tensors.has(this.#prefix + name)
  }

  shapeOf(name: string): Shape {
    const tensor = this.#file.tensors.get(this.#prefix + name)
    if (!tensor) throw this.unfit(`it lacks ${this.#prefix}${name}`)
    return tensor.shape
  }

  /** The values of a tensor of one of these shapes. */
  take(name: string, ...shapes: Shape[]): Float32Array {
    const actual = this.shapeOf(name)
    if (!shapes.some((shape) => sameShape(shape, actual))) {
      const expected = shapes.map(formatShape).join(' or ')
      throw this.unfit(
        `${this.#prefix}${name} has shape ${formatShape(actual)}, expected ${expected}`,
      )
    }
    return this.#file.float32(this.#prefix + name)
  }

  norm(name: string, size: number): NormWeights {
    return { weight: this.take(`${name}.weight`, [size]), bias: this.take(`${name}.bias`, [size]) }
  }

  dense(name: string, out: number, inner: number): LinearWeights {
    return {
      weight: this.take(`${name}.weight`, [out, inner]),
      bias: this.take(`${name}.bias`, [out]),
    }
  }

  /** [out, inner], whichever way the file has it. */
  projection({ name, transposed }: ProjectionName, out: number, inner: number): Float32Array {
    if (!transposed) return this.take(name, [out, inner])
    return transpose(this.take(name, [inner, out]), inner, out)
  }

  /** Every block there is, of width D, with heads of 64 as all published models have. */
  blocks(
    names: BlockNames,
    hiddenSize: number,
  ): { blocks: BlockWeights[]; heads: number; mlpSize: number } {
    const nameOf = (index: number): string => names.block.replace('N', String(index))
    let layers = 0
    while (this.has(`${nameOf(layers)}.${names.norm1}.weight`)) layers++
    const mlpSize = this.shapeOf(`${nameOf(0)}.${names.fc1}.weight`)[0]!
    const heads = hiddenSize / 64
    if (!Number.isInteger(heads)) {
      throw this.unfit(`its width ${hiddenSize} is no multiple of 64, the size of a head`)
    }
    const blocks = Array.from({ length: layers }, (_, index): BlockWeights => {
      const block = nameOf(index)
      return {
        norm1: this.norm(`${block}.${names.norm1}`, hiddenSize),
        qkv: this.#qkv(block, names.qkv, hiddenSize),
        out: this.dense(`${block}.${names.out}`, hiddenSize, hiddenSize),
        norm2: this.norm(`${block}.${names.norm2}`, hiddenSize),
        fc1: this.dense(`${block}.${names.fc1}`, mlpSize, hiddenSize),
        fc2: this.dense(`${block}.${names.fc2}`, hiddenSize, mlpSize),
        layerScales: names.layerScales && [
          this.take(`${block}.${names.layerScales[0]}`, [hiddenSize]),
          this.take(`${block}.${names.layerScales[1]}`, [hiddenSize]),
        ],
      }
    })
    return { blocks, heads, mlpSize }
  }

  #qkv(block: string, names: BlockNames['qkv'], hiddenSize: number): LinearWeights {
    if ('fused' in names) {
      return {
        weight: this.take(`${block}.${names.fused}weight`, [3 * hiddenSize, hiddenSize]),
        bias: this.take(`${block}.${names.fused}bias`, [3 * hiddenSize]),
      }
    }
    const parts = names.parts.map((name) => this.dense(`${block}.${name}`, hiddenSize, hiddenSize))
    return {
      weight: concatenate(parts.map(({ weight }) => weight)),
      bias: concatenate(parts.map(({ bias }) => bias)),
    }
  }

  /** The error of a checkpoint of this kind that has this problem. */
  unfit(problem: string): KeeplightError {
    return new KeeplightError(
      'format',
      `the file looks like a ${this.#label} checkpoint, but ${problem}`,
    )
  }
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    all.set(part, offset)
    offset += part.length
  }
  return all
}

function transpose(data: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(data.length)
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = data[r * columns + c]!
  }
  return out
}
