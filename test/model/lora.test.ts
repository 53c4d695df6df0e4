import { describe, expect, it } from 'vitest'
import { Lora } from '../../src/model/lora.ts'
import { transformerBlock, type BlockTensors } from '../../src/model/transformerBlock.ts'
import { classRowsOf, VisionTransformer } from '../../src/model/vit/vit.ts'
import type { Device } from '../../src/runtime/device.ts'
import { crossEntropy } from '../../src/runtime/ops/crossEntropy.ts'
import { linear } from '../../src/runtime/ops/matmul.ts'
import { quantize } from '../../src/runtime/ops/quantize.ts'
import { sum } from '../../src/runtime/ops/reduce.ts'
import { record } from '../../src/runtime/plan.ts'
import { sizeOf } from '../../src/runtime/shape.ts'
import { backward } from '../../src/runtime/tape.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { adam } from '../../src/train/adam.ts'
import { adamTable } from '../../src/train/schedule.ts'
import * as reference from '../reference/transformerBlock.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { gradcheck } from '../support/gradcheck.ts'
import { randomArray } from '../support/random.ts'
import { config, smallWeights } from '../support/smallModel.ts'

const SIZE = { batches: 1, tokens: 3, heads: 2, width: 16, mlpSize: 32, eps: 1e-5 }
const { width: D, mlpSize: M } = SIZE
/** [out, in] of a block's layers. */
const LAYERS = { qkv: [3 * D, D], out: [D, D], fc1: [M, D], fc2: [D, M] } as const
const RANK = 4
const SCALE = 1.5

type Layer = keyof typeof LAYERS
const layers = Object.keys(LAYERS) as Layer[]

/** W + scale·B·A in f64. */
const merged = (
  weight: ArrayLike<number>,
  down: ArrayLike<number>,
  up: ArrayLike<number>,
  inner: number,
): Float64Array =>
  Float64Array.from(weight, (w, i) => {
    const [row, column] = [Math.floor(i / inner), i % inner]
    let product = 0
    for (let r = 0; r < RANK; r++) product += up[row * RANK + r]! * down[r * inner + column]!
    return w + SCALE * product
  })

/** Frozen weights of a block, on the host. */
function blockWeights(): Record<string, Float32Array<ArrayBuffer>> {
  const values: Record<string, Float32Array<ArrayBuffer>> = {}
  for (const [i, norm] of ['norm1', 'norm2'].entries()) {
    values[`${norm}Weight`] = randomArray(D, 20 + i, 0.3).map((w) => w + 1)
    values[`${norm}Bias`] = randomArray(D, 22 + i, 0.3)
  }
  layers.forEach((layer, i) => {
    values[`${layer}Weight`] = randomArray(sizeOf(LAYERS[layer]), 30 + i, 0.3)
    values[`${layer}Bias`] = randomArray(LAYERS[layer][0], 40 + i, 0.3)
  })
  return values
}

function tensorsOf(device: Device, values: Record<string, Float32Array<ArrayBuffer>>) {
  const dense = (name: Layer | 'norm1' | 'norm2', shape: readonly number[]) => ({
    weight: device.tensor(values[`${name}Weight`]!, shape),
    bias: device.tensor(values[`${name}Bias`]!, [shape[0]!]),
  })
  return {
    norm1: dense('norm1', [D]),
    norm2: dense('norm2', [D]),
    qkv: dense('qkv', LAYERS.qkv),
    out: dense('out', LAYERS.out),
    fc1: dense('fc1', LAYERS.fc1),
    fc2: dense('fc2', LAYERS.fc2),
  }
}

describe('a low-rank branch', () => {
  const device = useDevice()
  const options = { heads: SIZE.heads, activation: 'gelu', eps: SIZE.eps } as const

  const adapted = (block: BlockTensors, branches: Record<string, Tensor<'f32'>>): BlockTensors => ({
    ...block,
    ...Object.fromEntries(
      layers.map((layer) => {
        const lowRank = { down: branches[`${layer}A`]!, up: branches[`${layer}B`]!, scale: SCALE }
        return [layer, { ...block[layer], lowRank }]
      }),
    ),
  })

  it('is W + α/r·B·A, in value and in the gradients of finite differences', async () => {
    const values = blockWeights()
    const block = tensorsOf(device(), values)
    const inputs: Record<string, readonly number[]> = { x: [SIZE.batches, SIZE.tokens, D] }
    for (const layer of layers) {
      inputs[`${layer}A`] = [RANK, LAYERS[layer][1]]
      inputs[`${layer}B`] = [LAYERS[layer][0], RANK]
    }
    await gradcheck(device(), {
      inputs,
      op: ({ x, ...branches }) => transformerBlock(x!, adapted(block, branches), options),
      reference: ({ x, ...branches }) => {
        const weights: Record<string, ArrayLike<number>> = { ...values }
        for (const layer of layers) {
          const [down, up] = [branches[`${layer}A`]!, branches[`${layer}B`]!]
          weights[`${layer}Weight`] = merged(values[`${layer}Weight`]!, down, up, LAYERS[layer][1])
        }
        return reference.transformerBlock(
          x!,
          weights as reference.BlockArrays<ArrayLike<number>>,
          SIZE,
        )
      },
      tolerance: 2e-4,
    })
  })

  it('learns beside a weight in int8 what it would beside the numbers that this stands for', async () => {
    const values = blockWeights()
    const block = tensorsOf(device(), values)
    const int8 = quantize(block.qkv.weight)
    const [words, scales] = [await int8.values.read(), await int8.scales.read()]
    const stood = Float32Array.from(words, (value, i) => value * scales[Math.floor(i / D)]!)
    const x = device().tensor(randomArray(3 * D, 1), [1, 3, D])
    const down = device().tensor(randomArray(RANK * D, 2), [RANK, D])
    const up = device().tensor(randomArray(3 * D * RANK, 3), [3 * D, RANK])
    for (const leaf of [down, up]) leaf.requiresGrad = true
    const gradients: Float32Array[][] = []
    for (const weight of [int8, device().tensor(stood, [3 * D, D])]) {
      const qkv = { ...block.qkv, weight, lowRank: { down, up, scale: SCALE } }
      const flows = scope(() =>
        backward(sum(transformerBlock(x, { ...block, qkv }, options)), [down, up]),
      )
      gradients.push(await Promise.all(flows.map((flow) => flow.read())))
    }
    gradients[0]!.forEach((actual, i) => expectClose('gradient', actual, gradients[1]![i]!, 1e-4))
  })
})

describe('Lora', () => {
  const device = useDevice()
  const [B, T] = [8, 5]
  const CLASSES = 2

  const pictures = (seed: number): Float32Array<ArrayBuffer> => randomArray(B * 3 * 64, seed)

  it('changes nothing at first, trains from a recorded plan, and merges into the weights', async () => {
    const encoder = new VisionTransformer(device(), config, smallWeights())
    const lora = new Lora(device(), encoder, { blocks: 1, rank: RANK, alpha: 3 })
    lora.initialize(7)
    const pixels = device().tensor(pictures(1), [B, 3, 8, 8])
    const classRows = device().tensor(classRowsOf(B, T), [B])
    const plain = await encoder.forward(pixels, classRows).feature.read()
    const tokens = lora.frozen(pixels)
    expectClose('untrained', await lora.features(tokens, classRows).read(), plain, 1e-6)

    const labels = device().tensor(
      Uint32Array.from({ length: B }, (_, i) => i % CLASSES),
      [B],
    )
    const classifier = device().tensor(randomArray(CLASSES * D, 9, 0.5), [CLASSES, D])
    const { size } = lora.parameters.values
    const zeros = (): Tensor<'f32'> => device().tensor(new Float32Array(size), [size])
    const state = { moments: zeros(), squares: zeros() }
    // One row for all steps, without the correction for their number.
    const schedule = device().tensor(adamTable([0.02]), [1, 4])
    const count = device().tensor(Uint32Array.of(0), [1])
    const plan = await record(device(), {}, () => {
      const loss = crossEntropy(linear(lora.features(tokens, classRows), classifier), labels)
      backward(loss, lora.parameters.list())
      adam(lora.parameters, state, schedule, count)
      return { loss }
    })
    plan.run()
    const first = (await plan.outputs.loss.read())[0]!
    plan.runMany(29)
    const last = (await plan.outputs.loss.read())[0]!
    expect(last).toBeLessThan(0.5 * first)
    plan.dispose()

    const weights = smallWeights()
    const deltas = await lora.deltas()
    expect([...deltas.keys()]).toEqual(['qkv', 'out', 'fc1', 'fc2'].map((t) => `blocks.1.${t}`))
    for (const [name, { data }] of deltas) {
      const layer = weights.blocks[1]![name.split('.')[2] as Layer].weight as Float32Array
      data.forEach((delta, i) => (layer[i]! += delta))
    }
    const other = new VisionTransformer(device(), config, weights)
    const features = await lora.features(tokens, classRows).read()
    expectClose('merged', await other.forward(pixels, classRows).feature.read(), features, 1e-5)

    // What was read is what comes back.
    const saved = await lora.read()
    lora.initialize(8)
    lora.write(saved)
    expect(await lora.features(tokens, classRows).read()).toEqual(features)
    expect(await encoder.forward(pixels, classRows).feature.read()).toEqual(plain)
    for (const owner of [lora, encoder, other]) owner.dispose()
  })

  it('names options that make no sense', () => {
    const encoder = new VisionTransformer(device(), config, smallWeights())
    const failure = (options: object): string =>
      errorOf(() => new Lora(device(), encoder, options)).message
    expect(failure({ blocks: 3 })).toMatch(/blocks is 3, expected a whole number from 1 to 2/)
    expect(failure({ rank: 0.5 })).toMatch(/rank is 0.5/)
    expect(failure({ alpha: 0 })).toMatch(/alpha is 0/)
    expect(failure({ targets: [] })).toMatch(/expected some of qkv, out, fc1, fc2/)
    encoder.dispose()
  })
})
