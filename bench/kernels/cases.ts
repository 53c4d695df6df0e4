import { adamKernel } from '../../src/kernels/adam.ts'
import { batchNormTrainBackwardKernel } from '../../src/kernels/batchNorm.ts'
import { batchNormTrainBackwardAloneKernel } from '../../src/kernels/batchNormAlone.ts'
import { sampleBatchKernel } from '../../src/kernels/sampleBatch.ts'
import { topKKernel } from '../../src/kernels/topK.ts'
import {
  attentionPacked,
  batchNormEval,
  batchNormTrain,
  embedTokens,
  gatherRows,
  l2Normalize,
  layerNorm,
  linear,
  matmul,
  patchify,
  scpLoss,
  softmax,
  sum,
  type LinearOptions,
} from '../../src/index.node.ts'
import { nearestCentre, nearestRows } from '../../src/runtime/ops/distance.ts'
import { resizeImages } from '../../src/runtime/ops/image.ts'
import type { Inputs } from './inputs.ts'
import { memoryCases } from './memoryCases.ts'

/** One kernel at one shape. */
export interface KernelCase {
  readonly kernel: string
  readonly shape: string
  /** Where this shape comes from. */
  readonly use: string
  /** Arithmetic, when that is what bounds it; a multiply-add counts two. */
  readonly flops?: number
  /** Bytes that have to be read and written once, when memory bounds it. */
  readonly bytes?: number
  /** Makes the inputs; what it returns enqueues the kernel once. */
  prepare(inputs: Inputs): () => unknown
}

type Layout = 'NN' | 'NT' | 'TN'

function product(use: string, layout: Layout, m: number, n: number, k: number): KernelCase {
  const transposeA = layout[0] === 'T'
  const transposeB = layout[1] === 'T'
  return {
    kernel: `matmul ${layout}`,
    shape: `${m}×${n}×${k}`,
    use,
    flops: 2 * m * n * k,
    prepare({ random }) {
      const a = random(transposeA ? [k, m] : [m, k])
      const b = random(transposeB ? [n, k] : [k, n])
      return () => matmul(a, b, { transposeA, transposeB })
    },
  }
}

interface Epilogue extends Pick<LinearOptions, 'activation'> {
  readonly residual?: boolean
}

export function dense(
  use: string,
  m: number,
  n: number,
  k: number,
  { activation, residual = false }: Epilogue = {},
): KernelCase {
  const parts = ['bias', ...(activation ? [activation] : []), ...(residual ? ['residual'] : [])]
  return {
    kernel: `matmul NT ${parts.join(' ')}`,
    shape: `${m}×${n}×${k}`,
    use,
    flops: 2 * m * n * k,
    prepare({ random }) {
      const [x, weight, bias] = [random([m, k]), random([n, k]), random([n])]
      const options = { activation, residual: residual ? random([m, n]) : undefined }
      return () => linear(x, weight, bias, options)
    },
  }
}

export function attentionCase(
  use: string,
  batch: number,
  heads: number,
  tokens: number,
): KernelCase {
  const headSize = 64
  return {
    kernel: 'attention',
    shape: `${batch}×${heads}×${tokens}×${headSize}`,
    use,
    flops: 4 * batch * heads * tokens * tokens * headSize,
    prepare({ random }) {
      const qkv = random([batch, tokens, 3 * heads * headSize])
      return () => attentionPacked(qkv, { heads })
    },
  }
}

export function layerNormCase(use: string, rows: number, columns: number): KernelCase {
  return {
    kernel: 'layerNorm',
    shape: `${rows}×${columns}`,
    use,
    bytes: 2 * rows * columns * 4,
    prepare({ random }) {
      const [x, weight, bias] = [random([rows, columns]), random([columns]), random([columns])]
      return () => layerNorm(x, weight, bias)
    },
  }
}

function batchNormCases(rows: number, columns: number): KernelCase[] {
  const shape = `${rows}×${columns}`
  const matrix = rows * columns * 4
  const relu = true
  const operands = ({ random, zeros }: Inputs) => ({
    x: random([rows, columns]),
    weight: random([columns]),
    bias: random([columns]),
    running: zeros([2, columns]),
  })
  return [
    {
      kernel: 'batchNorm train relu',
      shape,
      use: 'SCP forward',
      bytes: 2 * matrix,
      prepare(inputs) {
        const { x, weight, bias, running } = operands(inputs)
        return () => batchNormTrain(x, weight, bias, running, { relu })
      },
    },
    {
      kernel: 'batchNorm train relu bwd',
      shape,
      use: 'SCP backward',
      bytes: 3 * matrix,
      prepare(inputs) {
        const { device, random } = inputs
        const { x, weight, bias } = operands(inputs)
        const [statistics, dOut] = [random([2, columns]), random([rows, columns])]
        const kernel = device.adapter.software
          ? batchNormTrainBackwardAloneKernel({ relu })
          : batchNormTrainBackwardKernel({ relu })
        return () => {
          const dX = device.empty([rows, columns])
          const [dWeight, dBias] = [device.empty([columns]), device.empty([columns])]
          const tensors = { x, weight, bias, statistics, dOut, dX, dWeight, dBias }
          device.dispatch(kernel, tensors, { runs: 1, batches: 1, rows, columns })
        }
      },
    },
    {
      kernel: 'batchNorm eval relu',
      shape,
      use: 'SCP prediction',
      bytes: 2 * matrix,
      prepare(inputs) {
        const { x, weight, bias, running } = operands(inputs)
        return () => batchNormEval(x, weight, bias, running, { relu })
      },
    },
  ]
}

export function softmaxCase(use: string, rows: number, columns: number): KernelCase {
  return {
    kernel: 'softmax',
    shape: `${rows}×${columns}`,
    use,
    bytes: 2 * rows * columns * 4,
    prepare({ random }) {
      const x = random([rows, columns], 10)
      return () => softmax(x)
    },
  }
}

function scpLossCase(batch: number, clusters: number): KernelCase {
  return {
    kernel: 'scpLoss fwd+bwd',
    shape: `${2 * batch}×${clusters}`,
    use: 'SCP loss',
    bytes: 2 * 2 * batch * clusters * 4,
    prepare({ random }) {
      const logits = random([2 * batch, clusters], 10)
      return () => scpLoss(logits, { crossEntropy: 1, confidence: 1, entropy: 2 })
    },
  }
}

function sampleBatchCase(count: number, dimension: number, batch: number): KernelCase {
  const views = 5
  const pairs = 10
  return {
    kernel: 'sampleBatch',
    shape: `${2 * batch}×${dimension}`,
    use: `SCP batch of ${count} images`,
    bytes: 2 * 2 * batch * dimension * 4,
    prepare({ device, random, integers }) {
      const store = random([views * count, dimension])
      const neighbours = integers([count * pairs], count)
      const state = integers([2], 2 ** 16)
      const stepsPerEpoch = Math.floor(count / batch)
      const sizes = { runs: 1, batch, count, views, sides: 0, pairs, dimension, stepsPerEpoch }
      return () => {
        const out = device.empty([2 * batch, dimension])
        const images = device.empty([2 * batch], 'u32')
        device.dispatch(
          sampleBatchKernel,
          { store, neighbours, state, out, images },
          { ...sizes, firstRow: 0, rows: views * count, noise: 0.1 },
        )
      }
    },
  }
}

function adamCase(size: number): KernelCase {
  return {
    kernel: 'adam',
    shape: `${size}`,
    use: "SCP head's parameters",
    // Gradients are read; values and both moments are read and written.
    bytes: 7 * size * 4,
    prepare({ device, random, zeros, integers }) {
      const [gradients, values] = [random([size]), random([size])]
      const [moments, squares] = [zeros([size]), zeros([size])]
      const [schedule, step] = [random([1, 4]), integers([1], 1)]
      const rates = { beta2: 0.999, complement1: 0.1, complement2: 0.001, eps: 1e-8 }
      const state = { gradients, schedule, step, groups: schedule, values, moments, squares }
      const sizes = { quads: size / 4, block: 1, steps: 1 }
      return () => device.dispatch(adamKernel({ groups: false }), state, { ...sizes, ...rates })
    },
  }
}

function gatherCase(use: string, rows: number, columns: number, count: number): KernelCase {
  return {
    kernel: 'gatherRows',
    shape: `${count} of ${rows}×${columns}`,
    use,
    bytes: 2 * count * columns * 4,
    prepare({ random, integers }) {
      const [x, index] = [random([rows, columns]), integers([count], rows)]
      return () => gatherRows(x, index)
    },
  }
}

function topKCase(use: string, rows: number, columns: number, k: number): KernelCase {
  return {
    kernel: 'topK',
    shape: `${k} of ${rows}×${columns}`,
    use,
    bytes: rows * columns * 4,
    prepare({ device, random }) {
      const x = random([rows, columns])
      return () => {
        const tensors = {
          x,
          values: device.empty([rows, k]),
          indices: device.empty([rows, k], 'u32'),
        }
        device.dispatch(topKKernel, tensors, { rows, columns, k })
      }
    },
  }
}

function resizeCase(batch: number, from: readonly [number, number], to: number): KernelCase {
  const [width, height] = from
  return {
    kernel: 'resample',
    shape: `${batch}×${width}×${height} to ${to}×${to}`,
    use: 'pictures',
    // Read, written and read between the passes, and written.
    bytes: batch * 3 * (width * height + 2 * to * height + to * to),
    prepare({ device }) {
      const data = Uint8Array.from({ length: batch * height * width * 3 }, (_, i) => i * 7)
      const x = device.tensor(data, [batch, height, width, 3])
      return () => resizeImages(x, to, to)
    },
  }
}

function nearestCentreCase(
  rows: number,
  dimension: number,
  restarts: number,
  k: number,
): KernelCase {
  return {
    kernel: 'nearestCentre',
    shape: `${rows}×${dimension}, ${restarts}×${k}`,
    use: 'k-means step',
    // A subtraction beside a fused multiply and add.
    flops: 3 * rows * dimension * restarts * k,
    prepare({ random }) {
      const [x, centres] = [random([rows, dimension]), random([restarts * k, dimension])]
      return () => nearestCentre(x, centres, { restarts })
    },
  }
}

function nearestRowsCase(rows: number, width: number, dimension: number, k: number): KernelCase {
  return {
    kernel: 'nearestRows',
    shape: `${k} of ${width}×${dimension} for ${rows}`,
    use: 'neighbour search',
    flops: 3 * rows * width * dimension,
    prepare({ random }) {
      const [x, y] = [random([rows, dimension]), random([width, dimension])]
      return () => nearestRows(x, y, { k })
    },
  }
}

/** The vision transformer of one family at one batch. */
function vitCases(
  name: string,
  batch: number,
  { patches, width, mlp, heads, patchSize, activation }: VitShape,
): KernelCase[] {
  const tokens = patches + 1
  const rows = batch * tokens
  const side = Math.sqrt(patches) * patchSize
  const inner = 3 * patchSize ** 2
  return [
    {
      kernel: 'patchify',
      shape: `${batch}×3×${side}×${side}`,
      use: name,
      bytes: 2 * batch * 3 * side * side * 4,
      prepare({ random }) {
        const x = random([batch, 3, side, side])
        return () => patchify(x, patchSize)
      },
    },
    dense(`${name} patches`, batch * patches, width, inner),
    {
      kernel: 'embedTokens',
      shape: `${batch}×${tokens}×${width}`,
      use: name,
      bytes: (2 * batch + 1) * tokens * width * 4,
      prepare({ random }) {
        const parts = [random([batch, patches, width]), random([width])] as const
        const positions = random([tokens, width])
        return () => embedTokens(...parts, positions)
      },
    },
    layerNormCase(name, rows, width),
    dense(`${name} qkv`, rows, 3 * width, width),
    attentionCase(name, batch, heads, tokens),
    dense(`${name} projection`, rows, width, width, { residual: true }),
    dense(`${name} first MLP layer`, rows, mlp, width, { activation }),
    dense(`${name} second MLP layer`, rows, width, mlp, { residual: true }),
    gatherCase(`${name} class tokens`, rows, width, batch),
  ]
}

interface VitShape {
  readonly patches: number
  readonly width: number
  readonly mlp: number
  readonly heads: number
  readonly patchSize: number
  readonly activation: 'gelu' | 'quickGelu'
}

const tiny: VitShape = {
  patches: 64,
  width: 192,
  mlp: 768,
  heads: 3,
  patchSize: 8,
  activation: 'gelu',
}

const clipB32: VitShape = {
  patches: 49,
  width: 768,
  mlp: 3072,
  heads: 12,
  patchSize: 32,
  activation: 'quickGelu',
}

/** Rows of both views of a training step, width of the head, clusters, images of the collection. */
const ROWS = 1024
const WIDTH = 192
const K = 10
const IMAGES = 10_000

/** The shapes of the whole way: keeplight-tiny on 32 images, and SCP on 10,000 of them. */
export const standardCases: readonly KernelCase[] = [
  ...vitCases('ViT', 32, tiny),
  l2NormalizeCase(ROWS, WIDTH),
  sampleBatchCase(IMAGES, WIDTH, ROWS / 2),
  product('SCP hidden layer', 'NT', ROWS, WIDTH, WIDTH),
  product('SCP hidden layer, dX', 'NN', ROWS, WIDTH, WIDTH),
  product('SCP hidden layer, dW', 'TN', WIDTH, WIDTH, ROWS),
  dense('SCP last layer', ROWS, K, WIDTH),
  product('SCP last layer, dX', 'NN', ROWS, WIDTH, K),
  product('SCP last layer, dW', 'TN', K, WIDTH, ROWS),
  ...batchNormCases(ROWS, WIDTH),
  softmaxCase('SCP prediction', 4096, K),
  scpLossCase(ROWS / 2, K),
  sumRowsCase(ROWS, K),
  adamCase(4 * WIDTH * WIDTH + 8 * WIDTH + K * WIDTH + 64),
  topKCase('neighbours', 256, IMAGES, 11),
]

/**
 * Also CLIP's B/32 on 8 images, the products of k-means and of the neighbour search, and the ops that
 * memory bounds.
 */
export const furtherCases: readonly KernelCase[] = [
  ...vitCases('CLIP B/32', 8, clipB32),
  softmaxCase('rows of a vocabulary', 256, 4096),
  scpLossCase(256, 100),
  product('neighbours', 'NT', 1024, IMAGES, WIDTH),
  product('k-means distances', 'NT', IMAGES, 20 * K, WIDTH),
  product('k-means sums', 'TN', 20 * K, WIDTH, IMAGES),
  resizeCase(8, [640, 480], 224),
  nearestCentreCase(IMAGES, WIDTH, 20, K),
  nearestRowsCase(1024, IMAGES, WIDTH, 10),
  ...memoryCases(2080, 192),
]

function l2NormalizeCase(rows: number, columns: number): KernelCase {
  return {
    kernel: 'l2Normalize',
    shape: `${rows}×${columns}`,
    use: 'features',
    bytes: 2 * rows * columns * 4,
    prepare({ random }) {
      const x = random([rows, columns])
      return () => l2Normalize(x)
    },
  }
}

function sumRowsCase(rows: number, columns: number): KernelCase {
  return {
    kernel: 'sum of rows',
    shape: `${rows}×${columns}`,
    use: "SCP last layer's bias",
    bytes: rows * columns * 4,
    prepare({ random }) {
      const x = random([rows, columns])
      return () => sum(x, 'rows')
    },
  }
}
