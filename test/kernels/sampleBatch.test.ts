import { describe, expect, it } from 'vitest'
import { permute, permuteWgsl } from '../../src/kernels/permutation.ts'
import { defineKernel, readWrite } from '../../src/kernels/kernel.ts'
import { philox, philoxWgsl } from '../../src/kernels/random.ts'
import { drawBatch, sampleBatchKernel, type Draw } from '../../src/kernels/sampleBatch.ts'
import { normalWgsl } from '../../src/kernels/random.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'

describe('permute', () => {
  it.each([1, 2, 3, 16, 17, 255, 256, 257, 1000])('is a permutation of %i', (n) => {
    const image = new Set(Array.from({ length: n }, (_, i) => permute(i, n, [n, 7])))
    expect(image.size).toBe(n)
    expect(Math.max(...image)).toBe(n - 1)
  })

  it('moves nearly everything, and differently for another key', () => {
    const fixed = (key: readonly [number, number]): number =>
      Array.from({ length: 1000 }, (_, i) => permute(i, 1000, key)).filter((to, i) => to === i)
        .length
    expect(fixed([1, 2])).toBeLessThan(8)
    const same = Array.from({ length: 1000 }, (_, i) => i).filter(
      (i) => permute(i, 1000, [1, 2]) === permute(i, 1000, [1, 3]),
    ).length
    expect(same).toBeLessThan(8)
  })
})

describe('random numbers on the GPU', () => {
  const device = useDevice()

  it('equal their TypeScript twins bit for bit', async () => {
    const size = 300
    const kernel = defineKernel({
      label: 'twins',
      bindings: { words: readWrite('u32'), places: readWrite('u32') },
      params: { size: 'u32', seed: 'u32' },
      workgroups: ({ size: n }) => [Math.ceil(n / 64), 1, 1],
      wgsl: `${philoxWgsl}${permuteWgsl}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.size) { return; }
  let block = philox(vec4u(id.x, 1u, 2u, 0xffffffffu), vec2u(params.seed, id.x));
  for (var i = 0u; i < 4u; i++) { words[id.x * 4u + i] = block[i]; }
  places[id.x] = permute(id.x, params.size, block.xy);
}`,
    })
    const words = device().empty([size, 4], 'u32')
    const places = device().empty([size], 'u32')
    device().dispatch(kernel, { words, places }, { size, seed: 0xdeadbeef })
    const blocks = Array.from({ length: size }, (_, i) => {
      return philox([i, 1, 2, 0xffffffff], [0xdeadbeef, i])
    })
    expect([...(await words.read())]).toEqual(blocks.flat())
    const expected = blocks.map(([k0, k1], i) => permute(i, size, [k0, k1]))
    expect([...(await places.read())]).toEqual(expected)
  })
})

describe('normalFloat', () => {
  const device = useDevice()

  it('is finite and symmetric at the ends, and the inverse of the normal distribution between', async () => {
    const words = [0, 0x1ff, 0xfffffe00, 0xffffffff, 0x7fffffff, 0x80000000, 0x28000000, 0xd7ffffff]
    const kernel = defineKernel({
      label: 'normals',
      bindings: { words: readWrite('u32'), out: readWrite('f32') },
      params: {},
      workgroups: () => [1, 1, 1],
      wgsl: `${normalWgsl}
@compute @workgroup_size(${words.length})
fn main(@builtin(local_invocation_index) i: u32) { out[i] = normalFloat(words[i]); }`,
    })
    const tensors = {
      words: device().tensor(Uint32Array.from(words), [words.length]),
      out: device().empty([words.length]),
    }
    device().dispatch(kernel, tensors, {})
    const out = [...(await tensors.out.read())]
    // 23 bits end 5.3 deviations out: P(|z| > 5.3) = 2⁻²³.
    for (const [i, value] of out.slice(0, 4).entries()) {
      expect(Math.abs(value), `end ${i}`).toBeGreaterThan(5.1)
      expect(Math.abs(value), `end ${i}`).toBeLessThan(5.5)
    }
    expect(Math.abs(out[4]!)).toBeLessThan(1e-6)
    expect(out[4]! + out[5]!).toBeCloseTo(0, 6)
    // Φ⁻¹(5/32) = −1.00999
    expect(out[6]).toBeCloseTo(-1.00999, 4)
    expect(out[7]).toBeCloseTo(1.00999, 4)
  })
})

describe('sampleBatch', () => {
  const device = useDevice()
  const [batch, count, views, dimension, pairs] = [20, 45, 3, 7, 4]
  const store = randomArray(views * count * dimension, 1)
  const neighbours = Uint32Array.from({ length: count * pairs }, (_, i) => (i * 31 + 5) % count)

  async function sample(
    step: number,
    { noise = 0, chunk = views * count, withPairs = true, sides = 0 } = {},
  ): Promise<Float32Array> {
    const out = device().tensor(new Float32Array(2 * batch * dimension).fill(NaN), [
      2 * batch,
      dimension,
    ])
    for (let firstRow = 0; firstRow < views * count; firstRow += chunk) {
      const rows = Math.min(chunk, views * count - firstRow)
      const part = store.subarray(firstRow * dimension, (firstRow + rows) * dimension)
      device().dispatch(
        sampleBatchKernel,
        {
          store: device().tensor(part, [rows, dimension]),
          neighbours: device().tensor(neighbours, [count * pairs]),
          state: device().tensor(new Uint32Array([step, 11]), [2]),
          out,
          images: device().empty([2 * batch], 'u32'),
        },
        {
          runs: 1,
          batch,
          count,
          views,
          sides,
          pairs: withPairs ? pairs : 0,
          dimension,
          stepsPerEpoch: 2,
          firstRow,
          rows,
          noise,
        },
      )
    }
    return out.read()
  }

  it.each([0, 1, 2, 5])('draws the rows that its TypeScript twin names, step %i', async (step) => {
    for (const withPairs of [true, false]) {
      const actual = [...(await sample(step, { withPairs }))]
      const settings = {
        batch,
        count,
        views,
        stepsPerEpoch: 2,
        neighbours: withPairs ? neighbours : new Uint32Array(),
      }
      const draws = drawBatch(step, 11, settings)
      const rowsOf = (draws: readonly Draw[]): number[] =>
        draws.flatMap(({ image, view }) => {
          const start = (view * count + image) * dimension
          return [...store.subarray(start, start + dimension)]
        })
      expect(actual).toEqual(rowsOf(draws))
      // The same images, but each side of a pair has its view.
      const sided = draws.map(({ image }, row) => ({ image, view: Math.floor(row / batch) }))
      expect([...(await sample(step, { withPairs, sides: 1 }))]).toEqual(rowsOf(sided))
    }
  })

  it('gives the same rows from a store in chunks', async () => {
    const whole = await sample(3, { noise: 0.5 })
    const chunked = await sample(3, { noise: 0.5, chunk: 50 })
    expect([...chunked]).toEqual([...whole])
  })

  it('shows every image of an epoch at most once', () => {
    const settings = { batch, count, views, stepsPerEpoch: 2, neighbours: new Uint32Array() }
    const images = [0, 1].flatMap((step) =>
      drawBatch(step, 11, settings)
        .slice(0, batch)
        .map(({ image }) => image),
    )
    expect(new Set(images).size).toBe(2 * batch)
  })

  it('adds noise of the asked-for deviation, other each step', async () => {
    const size = 2 * batch * dimension
    const noiseOf = async (step: number): Promise<Float64Array> => {
      const [clean, noisy] = [await sample(step), await sample(step, { noise: 2 })]
      return Float64Array.from({ length: size }, (_, i) => (noisy[i]! - clean[i]!) / 2)
    }
    const draws = [...(await noiseOf(0)), ...(await noiseOf(1)), ...(await noiseOf(2))]
    const mean = draws.reduce((sum, x) => sum + x, 0) / draws.length
    const variance = draws.reduce((sum, x) => sum + (x - mean) ** 2, 0) / draws.length
    // 840 draws: three standard errors are 0.10 of the mean and 0.15 of the variance.
    expect(Math.abs(mean)).toBeLessThan(0.1)
    expect(Math.abs(variance - 1)).toBeLessThan(0.15)
    expect(new Set(draws).size).toBeGreaterThan(draws.length * 0.99)
  })
})
