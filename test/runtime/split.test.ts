import { describe, expect, it } from 'vitest'
import type { Kernel } from '../../src/kernels/kernel.ts'
import { scaleKernel } from '../../src/kernels/elementwise.ts'
import { splitDispatch } from '../../src/runtime/split.ts'
import { batchNormEval, batchNormTrain } from '../../src/runtime/ops/batchNorm.ts'
import { toF16, toF32 } from '../../src/runtime/ops/cast.ts'
import { gather, scatterAdd } from '../../src/runtime/ops/gather.ts'
import { concat, slice } from '../../src/runtime/ops/layout.ts'
import { quantize } from '../../src/runtime/ops/quantize.ts'
import { attentionPacked } from '../../src/runtime/ops/attention.ts'
import { add, gelu, multiply, reshape } from '../../src/runtime/ops/elementwise.ts'
import { embedTokens } from '../../src/runtime/ops/embedTokens.ts'
import { gatherRows } from '../../src/runtime/ops/gatherRows.ts'
import { l2Normalize } from '../../src/runtime/ops/l2Normalize.ts'
import { layerNorm } from '../../src/runtime/ops/layerNorm.ts'
import { linear, matmul } from '../../src/runtime/ops/matmul.ts'
import { patchEmbed } from '../../src/runtime/ops/patchEmbed.ts'
import { sum } from '../../src/runtime/ops/reduce.ts'
import { softmax } from '../../src/runtime/ops/softmax.ts'
import { topK } from '../../src/runtime/ops/topK.ts'
import { Parameters } from '../../src/runtime/parameters.ts'
import { record } from '../../src/runtime/plan.ts'
import { sizeOf, type Shape } from '../../src/runtime/shape.ts'
import { backward } from '../../src/runtime/tape.ts'
import { scope, type Tensor } from '../../src/runtime/tensor.ts'
import { adam } from '../../src/train/adam.ts'
import { adamTable } from '../../src/train/schedule.ts'
import { expectClose, hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'

type F32 = Tensor<'f32'>

interface Case {
  readonly inputs: Readonly<Record<string, Shape>>
  readonly op: (inputs: Record<string, F32>) => F32 | readonly Tensor[]
  /** Of bindings, in bytes. */
  readonly limit: number
  /** Where sums are added in another order: the relative error allowed. */
  readonly tolerance?: number
}

/** Every case is run whole and cut, forward and backward where it has a gradient. */
const cases: Record<string, Case> = {
  'elementwise, of equal shapes': {
    inputs: { a: [1003], b: [1003] },
    op: ({ a, b }) => gelu(multiply(a!, b!)),
    limit: 1024,
  },
  'elementwise, a row repeated': {
    inputs: { a: [37, 12], b: [12] },
    op: ({ a, b }) => add(a!, b!),
    limit: 1024,
    tolerance: 1e-6,
  },
  'elementwise, strided': {
    inputs: { a: [70, 13], b: [70, 1] },
    op: ({ a, b }) => multiply(a!, b!),
    limit: 3400,
  },
  layerNorm: {
    inputs: { x: [70, 12], weight: [12], bias: [12] },
    op: ({ x, weight, bias }) => layerNorm(x!, weight!, bias!),
    limit: 1600,
    tolerance: 1e-5,
  },
  'softmax of odd rows': { inputs: { x: [129, 7] }, op: ({ x }) => softmax(x!), limit: 2048 },
  l2Normalize: { inputs: { x: [129, 8] }, op: ({ x }) => l2Normalize(x!), limit: 2304 },
  'sum over columns': { inputs: { x: [300, 8] }, op: ({ x }) => sum(x!, 'columns'), limit: 4096 },
  'sum over rows': {
    inputs: { x: [300, 8] },
    op: ({ x }) => sum(x!, 'rows'),
    limit: 4096,
    tolerance: 1e-6,
  },
  topK: {
    inputs: { x: [130, 9] },
    op: ({ x }) => {
      const { values, indices } = topK(x!, 2)
      return [values, indices]
    },
    limit: 2560,
  },
  patchEmbed: {
    inputs: { x: [5, 3, 8, 8], weight: [8, 3, 4, 4] },
    op: ({ x, weight }) => patchEmbed(x!, weight!),
    limit: 1600,
    tolerance: 1e-5,
  },
  embedTokens: {
    inputs: { patches: [5, 3, 64], classToken: [64], positions: [4, 64] },
    op: ({ patches, classToken, positions }) => embedTokens(patches!, classToken!, positions!),
    limit: 2100,
    tolerance: 1e-6,
  },
  attention: {
    inputs: { qkv: [9, 16, 24] },
    op: ({ qkv }) => attentionPacked(qkv!, { heads: 2 }),
    limit: 3100,
  },
  'embedTokens, more than one before the patches': {
    inputs: { patches: [5, 3, 64], prefix: [2, 64], positions: [5, 64] },
    op: ({ patches, prefix, positions }) => embedTokens(patches!, prefix!, positions!),
    limit: 2600,
    tolerance: 1e-6,
  },
  'embedTokens and its norm': {
    inputs: { patches: [17, 3, 64], prefix: [64], positions: [4, 64], weight: [64], bias: [64] },
    op: ({ patches, prefix, positions, weight, bias }) =>
      embedTokens(patches!, prefix!, positions!, {
        norm: { weight: weight!, bias: bias!, eps: 1e-5 },
      }),
    limit: 8400,
    tolerance: 1e-5,
  },
  'batchNormTrain, and its running statistics': {
    inputs: { x: [300, 20], weight: [20], bias: [20] },
    op: ({ x, weight, bias }) => {
      const running = x!.device.tensor(randomArray(40, 3), [2, 20])
      return [batchNormTrain(x!, weight!, bias!, running), running]
    },
    limit: 6000,
    tolerance: 1e-5,
  },
  'batchNormEval with ReLU': {
    inputs: { x: [300, 7], weight: [7], bias: [7] },
    op: ({ x, weight, bias }) => {
      const values = randomArray(14, 3).map((value, i) => (i < 7 ? value : value + 1.5))
      const running = x!.device.tensor(values, [2, 7])
      return batchNormEval(x!, weight!, bias!, running, { relu: true })
    },
    limit: 2048,
    tolerance: 1e-5,
  },
  'slices of the first dimension, and of two': {
    inputs: { x: [300, 9] },
    op: ({ x }) => concat([slice(x!, [7, 0], [261, 9]), slice(x!, [3, 2], [290, 7])].map(flat)),
    limit: 3000,
  },
  'concat along the first dimension': {
    inputs: { a: [70, 12], b: [33, 12], c: [50, 12] },
    op: ({ a, b, c }) => concat([a!, b!, c!]),
    limit: 1600,
  },
  'concat along the last dimension': {
    inputs: { a: [130, 5], b: [130, 4] },
    op: ({ a, b }) => concat([a!, b!], -1),
    limit: 3000,
  },
  'scatterAdd of few parts, into rows in parts': {
    inputs: { x: [130, 8], source: [33, 8] },
    op: ({ x, source }) => scatterAdd(x!, placesOf(source!, 140), source!),
    limit: 2304,
  },
  'scatterAdd of many parts, sorted': {
    inputs: { x: [130, 6], source: [333, 6] },
    op: ({ x, source }) => scatterAdd(x!, placesOf(source!, 140), source!),
    limit: 2304,
  },
  'gather of parts from parts': {
    inputs: { x: [200, 8] },
    op: ({ x }) => {
      const places = Uint32Array.from({ length: 333 }, (_, i) => (i * 7919) % 230)
      return gather(x!, x!.device.tensor(places, [333]))
    },
    limit: 2304,
  },
  'matmul, rows of both': {
    inputs: { a: [65, 64], b: [3, 64] },
    op: ({ a, b }) => matmul(a!, b!, { transposeB: true }),
    limit: 16_400,
    tolerance: 1e-6,
  },
  'linear with a large weight': {
    inputs: { x: [5, 16], weight: [150, 16], bias: [150], residual: [5, 150] },
    op: ({ x, weight, bias, residual }) => linear(x!, weight!, bias, { residual: residual! }),
    limit: 4352,
    tolerance: 1e-6,
  },
  'matmul, inner size': {
    inputs: { a: [2, 90], b: [90, 33] },
    op: ({ a, b }) => matmul(a!, b!),
    limit: 8448,
    tolerance: 1e-6,
  },
  'matmul, both transposed': {
    inputs: { a: [66, 64], b: [3, 66] },
    op: ({ a, b }) => matmul(a!, b!, { transposeA: true, transposeB: true }),
    limit: 16_640,
    tolerance: 1e-6,
  },
  'matmul, a batch': {
    inputs: { a: [7, 8, 16], b: [7, 16, 8] },
    op: ({ a, b }) => matmul(a!, b!),
    limit: 1024,
    tolerance: 1e-6,
  },
}

const flat = (x: F32): F32 => reshape(x, [x.size])

/** As many places as a source has rows, some named often, some beyond the end. */
const placesOf = ({ device, shape: [count = 0] }: F32, below: number): Tensor<'u32'> => {
  const places = Uint32Array.from({ length: count }, (_, i) => ((i * 7919) % below) ** 2 % below)
  return device.tensor(places, [count])
}

describe('ops on tensors larger than a binding', () => {
  const device = useDevice()

  /** Runs `body` with bindings of at most `limit` bytes. */
  function within<R>(limit: number, body: () => R): R {
    const whole = device().maxBindingBytes
    device().maxBindingBytes = limit
    try {
      return body()
    } finally {
      device().maxBindingBytes = whole
    }
  }

  /** Values and gradients of a case, and how many dispatches they took. */
  async function results({ inputs, op }: Case, limit: number) {
    const before = device().stats()
    const leaves = Object.entries(inputs).map(([name, shape], seed) => {
      const leaf = device().tensor(randomArray(sizeOf(shape), 40 + seed), shape)
      leaf.requiresGrad = true
      return [name, leaf] as const
    })
    const outs = scope((): Tensor[] => {
      const out = within(limit, () => op(Object.fromEntries(leaves)))
      const made: readonly Tensor[] = Array.isArray(out) ? (out as Tensor[]) : [out as F32]
      const y = made[0] as F32
      const cotangent = device().tensor(randomArray(y.size, 90), y.shape)
      const loss = sum(multiply(y, cotangent))
      const inputs = leaves.map(([, leaf]) => leaf)
      return [...made, ...within(limit, () => backward(loss, inputs))]
    })
    const { dispatches } = device().stats()
    const data = await Promise.all(outs.map((out) => out.read()))
    for (const tensor of [...outs, ...leaves.map(([, leaf]) => leaf)]) tensor.dispose()
    expect(device().stats().usedBytes).toBe(before.usedBytes)
    return { data, dispatches: dispatches - before.dispatches }
  }

  it.each(Object.keys(cases))('give what they give on whole ones: %s', async (name) => {
    const { limit, tolerance } = cases[name]!
    const whole = await results(cases[name]!, device().maxBindingBytes)
    const cut = await results(cases[name]!, limit)
    expect(cut.dispatches).toBeGreaterThan(whole.dispatches)
    cut.data.forEach((data, i) => {
      if (tolerance !== undefined) expectClose(`${name} ${i}`, data, whole.data[i]!, tolerance)
      else expect(hashBits(data), `${name} ${i}`).toBe(hashBits(whole.data[i]!))
    })
    if (tolerance !== undefined) return
    expect(new Set(whole.data.map(hashBits)).size).toBe(whole.data.length)
  })

  it('gather from a table in parts, and into a result in parts', async () => {
    const table = randomArray(200 * 8, 1)
    const x = device().tensor(table, [200, 8])
    for (const count of [5, 333]) {
      const places = Uint32Array.from({ length: count }, (_, i) => (i * 7919) % 230)
      const index = device().tensor(places, [count])
      const before = device().stats().dispatches
      // Five rows leave the table as the large one, 333 the result.
      const out = within(count === 5 ? 2048 : 6400, () => gatherRows(x, index))
      expect(device().stats().dispatches - before).toBeGreaterThan(1)
      const expected = Array.from(places).flatMap((row) => {
        const start = Math.min(row, 199) * 8
        return [...table.subarray(start, start + 8)]
      })
      expect([...(await out.read())]).toEqual(expected)
    }
  })

  it('cast and quantise in parts', async () => {
    const [rows, columns] = [150, 32]
    const values = randomArray(rows * columns, 1)
    const run = async (limit: number): Promise<{ hashes: string[]; dispatches: number }> => {
      const before = device().stats().dispatches
      const made = within(limit, () =>
        scope(() => {
          const x = device().tensor(values, [rows, columns])
          const half = toF16(x)
          const bytes = quantize(x)
          return [half, toF32(half), gelu(half), bytes.values, bytes.scales]
        }),
      )
      const data = await Promise.all(made.map((tensor) => tensor.read()))
      made.forEach((tensor) => tensor.dispose())
      return { hashes: data.map(hashBits), dispatches: device().stats().dispatches - before }
    }
    const [whole, cut] = [await run(device().maxBindingBytes), await run(9000)]
    expect(cut.hashes).toEqual(whole.hashes)
    expect(cut.dispatches).toBeGreaterThan(whole.dispatches)
  })

  it('step all parameters, and record the parts of a plan', async () => {
    const hashes = new Set<string>()
    for (const limit of [device().maxBindingBytes, 1024]) {
      const parameters = new Parameters(device(), new Map([['weight', [700]]]))
      parameters.write(new Map([['weight', randomArray(700, 3)]]))
      parameters.gradients.write(randomArray(parameters.gradients.size, 4))
      const { size } = parameters.values
      const zeros = (): F32 => device().tensor(new Float32Array(size), [size])
      const state = { moments: zeros(), squares: zeros() }
      const schedule = device().tensor(adamTable([0.1]), [1, 4])
      const step = device().tensor(Uint32Array.of(0), [1])
      const pending = within(limit, () =>
        record(device(), {}, () => {
          adam(parameters, state, schedule, step)
          return scope(() => gelu(parameters.values))
        }),
      )
      const plan = await pending
      expect(plan.stats().dispatches).toBe(limit === 1024 ? 6 : 2)
      plan.runMany(2)
      hashes.add(hashBits(await plan.outputs.read()))
      plan.dispose()
    }
    expect(hashes.size).toBe(1)
  })

  it('say what can not be cut', () => {
    const x = device().tensor(randomArray(2048, 1), [2, 1024])
    const error = errorOf(() => within(2048, () => softmax(x)))
    expect(error.code).toBe('validation')
    expect(error.message).toMatch(
      /^softmax\S*: x f32\[2, 1024\] has 8192 bytes, a binding of this adapter takes 2048, /,
    )
    expect(error.message).toContain('split the tensor along its first dimension')
  })
})

describe('splitDispatch', () => {
  const device = useDevice()

  it('covers every element once, at aligned places, within the limit', () => {
    for (const size of [1, 63, 64, 65, 1000, 4096, 4099]) {
      const x = device().empty([size])
      const out = device().empty([size], size === 65 ? 'u32' : 'f32')
      for (const maxBindingBytes of [256, 272, 1000, 4096, 1 << 20]) {
        const limits = { maxBindingBytes, offsetAlignment: 256 }
        const parts = splitDispatch(
          scaleKernel as unknown as Kernel,
          { x, out },
          { size, scale: 2 },
          limits,
        )!
        let next = 0
        for (const { pieces, params } of parts) {
          for (const name of ['x', 'out']) {
            const { start, count } = pieces.get(name)!
            expect(start).toBe(next)
            expect((start * 4) % 256).toBe(0)
            expect(count).toBe(params['size'])
            expect(count * 4).toBeLessThanOrEqual(maxBindingBytes)
          }
          next += params['size']!
        }
        expect(next).toBe(size)
      }
    }
  })

  it('has no parts where not even one aligned unit fits', () => {
    const x = device().empty([1000])
    const limits = { maxBindingBytes: 128, offsetAlignment: 256 }
    const params = { size: 1000, scale: 1 }
    const kernel = scaleKernel as unknown as Kernel
    expect(splitDispatch(kernel, { x, out: x }, params, limits)).toBeUndefined()
  })
})
