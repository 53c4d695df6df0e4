import { describe, expect, it } from 'vitest'
import { transformerBlock, type BlockTensors } from '../../src/model/transformerBlock.ts'
import type { Device } from '../../src/runtime/device.ts'
import { add, multiply, scale } from '../../src/runtime/ops/elementwise.ts'
import { linear, matmul } from '../../src/runtime/ops/matmul.ts'
import { mean } from '../../src/runtime/ops/reduce.ts'
import { Parameters } from '../../src/runtime/parameters.ts'
import { record } from '../../src/runtime/plan.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import { backward } from '../../src/runtime/tape.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { adam } from '../../src/train/adam.ts'
import { adamTable } from '../../src/train/schedule.ts'
import { advanceKernel } from '../../src/kernels/adam.ts'
import * as reference from '../reference/transformerBlock.ts'
import { expectClose, hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { gradcheck } from '../support/gradcheck.ts'
import { randomArray } from '../support/random.ts'
import { supports } from '../support/leftOut.ts'

type F32 = Tensor<'f32'>

const SIZE = { batches: 2, tokens: 5, heads: 2, width: 16, mlpSize: 24, eps: 1e-5 }
const X: Shape = [SIZE.batches, SIZE.tokens, SIZE.width]
const { width: D, mlpSize: M } = SIZE

const SHAPES: reference.BlockArrays<Shape> = {
  norm1Weight: [D],
  norm1Bias: [D],
  qkvWeight: [3 * D, D],
  qkvBias: [3 * D],
  outWeight: [D, D],
  outBias: [D],
  norm2Weight: [D],
  norm2Bias: [D],
  fc1Weight: [M, D],
  fc1Bias: [M],
  fc2Weight: [D, M],
  fc2Bias: [D],
}

const blockOf = (flat: reference.BlockArrays<F32>): BlockTensors => ({
  norm1: { weight: flat.norm1Weight, bias: flat.norm1Bias },
  qkv: { weight: flat.qkvWeight, bias: flat.qkvBias },
  out: { weight: flat.outWeight, bias: flat.outBias },
  norm2: { weight: flat.norm2Weight, bias: flat.norm2Bias },
  fc1: { weight: flat.fc1Weight, bias: flat.fc1Bias },
  fc2: { weight: flat.fc2Weight, bias: flat.fc2Bias },
})

const forward = (x: F32, flat: reference.BlockArrays<F32>): F32 =>
  transformerBlock(x, blockOf(flat), { heads: SIZE.heads, activation: 'gelu', eps: SIZE.eps })

/** Frozen weights: what a checkpoint would bring. */
function frozen(device: Device): reference.BlockArrays<F32> {
  const entries = Object.entries<Shape>(SHAPES).map(([name, shape], i) => {
    const data = randomArray(sizeOf(shape), 10 + i, 0.3)
    return [name, device.tensor(name.endsWith('mWeight') ? data.map((w) => w + 1) : data, shape)]
  })
  return Object.fromEntries(entries) as reference.BlockArrays<F32>
}

describe('transformerBlock', () => {
  const device = useDevice()

  it('has the values of its f64 loops, and their gradient for x and for every weight', async () => {
    await gradcheck(device(), {
      inputs: { x: X, ...SHAPES },
      op: ({ x, ...weights }) => forward(x, weights),
      reference: ({ x, ...weights }) => reference.transformerBlock(x, weights, SIZE),
      tolerance: 2e-4,
    })
  })

  /**
   * Every f16 on the way is off by 2^-11 of itself at most. Their sum over independent elements stays near
   * that of one, against what the residual adds at full precision.
   */
  it('stores f16 between its layers if asked: the same to 1e-3, in half the memory', async () => {
    const weights = frozen(device())
    const x = device().tensor(randomArray(sizeOf(X), 50), X)
    const options = { heads: SIZE.heads, activation: 'gelu', eps: SIZE.eps } as const
    const run = (dtype: 'f32' | 'f16'): F32 =>
      transformerBlock(x, blockOf(weights), { ...options, dtype })
    const [whole, half] = [await run('f32').read(), await run('f16').read()]
    expectClose('f16 inside', half, whole, 1e-3)
    expect(hashBits(half)).not.toBe(hashBits(whole))
    const plans = await Promise.all([
      record(device(), { x }, () => run('f32')),
      record(device(), { x }, () => run('f16')),
    ])
    plans[1]!.run()
    expect(hashBits(await plans[1]!.outputs.read())).toBe(hashBits(half))
    const [wide, narrow] = plans.map((plan) => plan.stats())
    if (supports(device(), 'shader-f16', 'what native f16 saves')) {
      expect(narrow!.dispatches).toBe(7)
      expect(narrow!.largestBytes[0]).toBe(wide!.largestBytes[0] / 2)
    }
    plans.forEach((plan) => plan.dispose())
    weights.fc2Weight.requiresGrad = true
    expect(run('f32').node).toBeDefined()
    weights.norm1Weight.requiresGrad = true
    expect(errorOf(() => run('f16')).message).toMatch(/^layerNorm: an f16 output carries no /)
  })

  /**
   * LoRA (Hu et al. 2021) on qkv and fc2 of a frozen block, W + B·A of rank 2 with B zero at first,
   * trained to the output of other weights.
   */
  class LoraRun {
    readonly adapters: Parameters
    readonly trace: F32
    readonly step: () => { loss: F32 }

    constructor(device: Device, steps: number) {
      const weights = frozen(device)
      const x = device.tensor(randomArray(sizeOf(X), 50), X)
      const target = device.tensor(randomArray(sizeOf(X), 51), X)
      const shapes = { qkvA: [2, D], qkvB: [3 * D, 2], fc2A: [2, M], fc2B: [D, 2] }
      const adapters = new Parameters(device, new Map(Object.entries<Shape>(shapes)))
      adapters.write(
        new Map(
          Object.entries(shapes).map(([name, shape]) => {
            const size = sizeOf(shape)
            return [name, name.endsWith('A') ? randomArray(size, 60) : new Float32Array(size)]
          }),
        ),
      )
      const { size } = adapters.values
      const moments = device.tensor(new Float32Array(size), [size])
      const squares = device.tensor(new Float32Array(size), [size])
      const rates = new Float64Array(steps).fill(1e-2)
      const schedule = device.tensor(adamTable(rates), [steps, 4])
      const count = device.tensor(new Uint32Array(2), [2])
      const terms = device.tensor(new Float32Array(4), [4])
      const trace = device.tensor(new Float32Array(steps * 5), [steps, 5])
      const current = device.tensor(new Float32Array(4), [1, 4])
      const adapted = (weight: F32, name: 'qkv' | 'fc2'): F32 => {
        const product = matmul(adapters.get(`${name}B`), adapters.get(`${name}A`))
        return add(weight, product)
      }
      this.adapters = adapters
      this.trace = trace
      this.step = () =>
        scope(() => {
          const qkvWeight = adapted(weights.qkvWeight, 'qkv')
          const fc2Weight = adapted(weights.fc2Weight, 'fc2')
          const y = forward(x, { ...weights, qkvWeight, fc2Weight })
          const error = add(y, scale(target, -1))
          const loss = mean(multiply(error, error))
          backward(loss, adapters.list())
          adam(adapters, { moments, squares }, schedule, count)
          device.dispatch(
            advanceKernel,
            { terms, schedule, step: count, trace, current },
            { steps, runs: 1, terms: 4 },
          )
          return { loss }
        })
    }

    async hash(): Promise<string> {
      return hashBits(await this.adapters.values.read())
    }
  }

  it('trains LoRA adapters of a frozen block from a recorded plan, as it does eagerly', async () => {
    const STEPS = 40
    const eager = new LoraRun(device(), STEPS)
    const losses: number[] = []
    for (let step = 0; step < STEPS; step++) {
      const { loss } = eager.step()
      losses.push((await loss.read())[0]!)
      loss.dispose()
    }
    expect(losses.every(Number.isFinite)).toBe(true)
    expect(losses.at(-1)!).toBeLessThan(0.8 * losses[0]!)

    const planned = new LoraRun(device(), STEPS)
    const plan = await record(device(), {}, planned.step)
    plan.runMany(1)
    expect((await plan.outputs.loss.read())[0]).toBe(losses[0])
    plan.runMany(STEPS - 1)
    expect((await plan.outputs.loss.read())[0]).toBe(losses.at(-1))
    expect(await planned.hash()).toBe(await eager.hash())
    plan.dispose()
  })

  it('adapts by weights as by branches: x·(W + B·A)ᵀ = x·Wᵀ + (x·Aᵀ)·Bᵀ', async () => {
    const tensors = [X, [D, D], [2, D], [D, 2]].map((shape, i) =>
      device().tensor(randomArray(sizeOf(shape), 70 + i), shape),
    )
    const [x, w, a, b] = tensors as [F32, F32, F32, F32]
    const merged = await linear(x, add(w, matmul(b, a))).read()
    const branches = await add(linear(x, w), linear(linear(x, a), b)).read()
    const difference = Math.max(...merged.map((value, i) => Math.abs(value - branches[i]!)))
    expect(difference).toBeLessThan(1e-5)
  })
})
