import { randomBits } from '../kernels/random.ts'
import type { Device } from '../runtime/device.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { linear, type LinearWeight } from '../runtime/ops/linear.ts'
import { scope, Tensor } from '../runtime/tensor.ts'
import type { HostMatrix, WeightDtype } from './convertWeights.ts'

/**
 * The load canary: whether the weights on the GPU do what those of the file should.
 *
 * Every linear layer multiplies a vector of ±1 in each row of a batch, with the kernel that a forward
 * pass takes, and every product is compared with the host's in f64, within what rounding the weights
 * to their dtype and adding in f32 can explain. All other tensors are read back and compared bit by
 * bit. So it sees a wrong upload, conversion, quantisation or matmul kernel, two tensors of a model
 * put in each other's place, memory given out twice. It can't see what was wrong before: a file with
 * two tensors exchanged, or a wrong table of names; nor kernels other than those of linear layers.
 */
export interface MatrixCheck {
  readonly kind: 'matrix'
  readonly label: string
  readonly weight: LinearWeight
  readonly bias: Tensor<'f32'> | undefined
  readonly reference: MatrixReference
}

export interface PlainCheck {
  readonly kind: 'plain'
  readonly label: string
  readonly tensor: Tensor<'f32'>
  /** {@link checksum} of the values. */
  readonly sum: number
}

export interface MatrixReference {
  /** [out]: product of each row with {@link probe}, and the bias, if any. */
  readonly products: Float64Array
  /** [out]: how far a sound product may lie from it. */
  readonly bounds: Float64Array
  readonly cosine: number
}

/** Rows of the probe's batch: enough for the kernels that the tokens of pictures take. */
const ROWS = 64
/** Least cosine between the products, whatever the bounds allow. */
const COSINES: Readonly<Record<WeightDtype, number>> = { f32: 0.9999, f16: 0.999, int8: 0.99 }
/** Errors of random signs: beyond seven root sums of squares once in 10¹⁰ products (Hoeffding 1963). */
const SPREAD = 7
/** Bytes that are read back at once. */
const CHUNK_BYTES = 2 ** 24

/** ±1, a function of the index alone. */
function probe(columns: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: columns }, (_, i) => {
    return (randomBits(0x6b65, 0, i >>> 5) >>> (i & 31)) & 1 ? 1 : -1
  })
}

const probes = new Map<number, Float32Array<ArrayBuffer>>()

/** The products that a matrix should make, from the f32 values of the file. */
export function matrixReference(
  floats: Float32Array,
  [rows, columns]: readonly [number, number],
  kept: HostMatrix,
): MatrixReference {
  let x = probes.get(columns)
  if (!x) probes.set(columns, (x = probe(columns)))
  const products = new Float64Array(rows)
  const bounds = new Float64Array(rows)
  for (let row = 0; row < rows; row++) {
    let [sum, size, squares] = [0, 0, 0]
    const start = row * columns
    for (let i = 0; i < columns; i++) {
      const w = floats[start + i]
      sum += w * x[i]
      size += Math.abs(w)
      squares += w * w
    }
    products[row] = sum
    // Each weight is off by half a step: of its own value for f16, of the row's scale for int8.
    const step =
      kept instanceof Float32Array
        ? 0
        : kept instanceof Uint16Array
          ? 2 ** -11 * Math.sqrt(squares) + 2 ** -25 * Math.sqrt(columns)
          : 0.5 * kept.scales[row] * Math.sqrt(columns)
    bounds[row] = SPREAD * step + (columns + 2) * 2 ** -24 * size + 1e-30
  }
  const dtype = kept instanceof Float32Array ? 'f32' : kept instanceof Uint16Array ? 'f16' : 'int8'
  return { products, bounds, cosine: COSINES[dtype] }
}

/** Makes a reference that of a layer with this bias [out]. */
export function addBias({ products, bounds }: MatrixReference, bias: Float32Array): void {
  bias.forEach((value, row) => {
    products[row] += value
    // One more rounding, of the sum.
    bounds[row] += 2 ** -23 * (Math.abs(products[row]) + Math.abs(value))
  })
}

/** Of the bits of f32 values: any one of them changed changes it (FNV-1a by words). */
export function checksum(values: Float32Array, seed = 0x811c9dc5): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  let hash = seed
  for (let i = 0; i < bits.length; i++) hash = Math.imul(hash ^ bits[i], 0x01000193)
  return hash >>> 0
}

/**
 * Compares what lies on the device with what should.
 *
 * @throws KeeplightError `internal` naming the first tensor that is wrong
 */
export async function checkWeights(
  device: Device,
  checks: readonly (MatrixCheck | PlainCheck)[],
): Promise<void> {
  for (const check of checks) {
    if (check.kind === 'plain') await checkPlain(check)
    else await checkMatrix(device, check)
  }
}

async function checkPlain({ label, tensor, sum }: PlainCheck): Promise<void> {
  const [rows = 1] = tensor.shape
  const rowBytes = tensor.byteLength / rows
  const { offsetAlignment } = tensor.device
  const aligned = rowBytes % offsetAlignment === 0
  const step = aligned ? Math.max(1, Math.floor(CHUNK_BYTES / rowBytes)) : rows
  let hash: number | undefined
  for (let row = 0; row < rows; row += step) {
    const part =
      step >= rows ? tensor.view(tensor.shape) : tensor.rows(row, Math.min(step, rows - row))
    try {
      hash = checksum(await part.read(), hash)
    } finally {
      part.dispose()
    }
  }
  if (hash !== sum) throw wrong(label, 'its values are not those that were written')
}

async function checkMatrix(
  device: Device,
  { label, weight, bias, reference }: MatrixCheck,
): Promise<void> {
  const matrix = weight instanceof Tensor ? weight : weight.values
  const [out, columns] = matrix.shape as [number, number]
  const { products, bounds, cosine: least } = reference
  if (products.length !== out)
    throw wrong(label, `it makes ${out} products, not ${products.length}`)
  const output = scope(() => {
    const batch = new Float32Array(ROWS * columns)
    const x = probes.get(columns) ?? probe(columns)
    for (let row = 0; row < ROWS; row++) batch.set(x, row * columns)
    return linear(device.tensor(batch, [ROWS, columns]), weight, bias)
  })
  const actual = await output.read().finally(() => output.dispose())
  let [dot, a, b] = [0, 0, 0]
  for (let i = 0; i < actual.length; i++) {
    const expected = products[i % out]
    const bound = bounds[i % out]
    // Written so that NaN fails.
    if (!(Math.abs(actual[i] - expected) <= bound)) {
      throw wrong(
        label,
        `product ${i % out} of row ${Math.floor(i / out)} is ${actual[i]}, expected ${expected} ± ${bound.toPrecision(2)}`,
      )
    }
    dot += actual[i] * expected
    a += actual[i] ** 2
    b += expected ** 2
  }
  const cosine = dot / Math.sqrt(a * b)
  if (b > 0 && !(cosine >= least)) {
    throw wrong(
      label,
      `the cosine of its products with the right ones is ${cosine}, expected ${least}`,
    )
  }
}

const wrong = (label: string, problem: string): KeeplightError =>
  new KeeplightError(
    'internal',
    `the weights on this GPU are wrong: ${label}: ${problem}. ` +
      "Update the graphics driver, take another adapter, or load the model with dtype 'f32'",
  )
