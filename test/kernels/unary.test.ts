import { describe, expect, it } from 'vitest'
import { powerKernel, unaryBackwardKernel, unaryFunctions } from '../../src/kernels/unary.ts'
import { unaryKernel, type Unary } from '../../src/kernels/unary.ts'
import { positiveOnly, unary, unaryGradients } from '../reference/unary.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { spreadFloats, ulps } from '../support/ulp.ts'

/**
 * Largest error that each function may have, in ULP where its result is a normal f32. WGSL's bounds
 * for exp (3 + 2|x|), log and tanh (1e-5) are wider; these are ours.
 */
const BOUNDS: Readonly<Record<Unary, number>> = {
  none: 0,
  relu: 0,
  abs: 0,
  negate: 0,
  square: 1,
  sqrt: 4.5,
  rsqrt: 2,
  reciprocal: 2.5,
  exp: 1.5,
  log: 1,
  tanh: 1.5,
  sigmoid: 2.5,
  softplus: 3,
  erf: 4.5,
  // The tail, with the built-in exp in it, is right in absolute terms only; the next test bounds that.
  gelu: Infinity,
  quickGelu: Infinity,
  silu: Infinity,
}
const names = Object.keys(unaryFunctions) as Unary[]
const MAX = 3.4028234663852886e38
const EDGES = [0, 1e-37, 1e-6, 0.5, 0.625, 1, 1.5, 4, 11.1, 13.3, 15, 50, 85, 88.8, 104, 1e4, MAX]

describe('unary kernels', () => {
  const device = useDevice()

  async function forward(name: Unary, x: Float32Array): Promise<Float32Array> {
    const shape = [x.length]
    const kernel = unaryKernel({ name, each: 4 })
    const inputs = { x: { data: x, shape } }
    return (await runKernel(device(), kernel, inputs, { out: shape }, { size: x.length })).out!
  }

  async function backward(name: Unary, x: Float32Array, dOut: Float32Array): Promise<Float32Array> {
    const shape = [x.length]
    const saved = unaryFunctions[name].saves === 'x' ? x : Float32Array.from(x, unary[name])
    const kernel = unaryBackwardKernel({ name, each: 4 })
    const inputs = { saved: { data: saved, shape }, dOut: { data: dOut, shape } }
    return (await runKernel(device(), kernel, inputs, { dX: shape }, { size: x.length })).dX!
  }

  /** |actual − expected| within `relative` of the value, or within 1e-7 near zero. */
  function expectNear(
    name: string,
    x: Float32Array,
    actual: Float32Array,
    expected: (x: number) => number,
    relative = 2e-6,
  ): void {
    for (const [i, value] of actual.entries()) {
      const wanted = expected(x[i]!)
      const near = Math.abs(value - wanted) <= relative * Math.abs(wanted) + 1e-7
      if (!near) expect.fail(`${name}(${x[i]}): expected ${wanted}, got ${value}`)
    }
  }

  it.each(names)('%s is within its bound over all of f32', async (name) => {
    const spread = spreadFloats(10_000)
    const x = positiveOnly.has(name) ? spread.map(Math.abs) : spread
    const out = await forward(name, x)
    let worst = 0
    for (const [i, value] of out.entries()) {
      const expected = unary[name](x[i]!)
      if (Math.abs(expected) > MAX || Math.abs(expected) < 2 ** -126) {
        // Overflow gives infinity, and what is below the normal range may be flushed to 0.
        if (Math.abs(expected) > MAX) expect(value).toBe(Math.sign(expected) * Infinity)
        else
          expect(Math.abs(value)).toBeLessThanOrEqual(BOUNDS[name] < Infinity ? 2 ** -125 : 2e-35)
        continue
      }
      const error = ulps(value, expected)
      expect(Number.isNaN(value), `${name}(${x[i]})`).toBe(false)
      if (error > BOUNDS[name]) {
        expect.fail(`${name}(${x[i]}): expected ${expected}, got ${value}: ${error} ULP`)
      }
      worst = Math.max(worst, error)
    }
    expect(worst).toBeLessThanOrEqual(BOUNDS[name])
  })

  it.each(names)('%s and its derivative equal f64 from −20 to 20', async (name) => {
    const all = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100)
    const x = positiveOnly.has(name) ? all.slice(2001) : all
    const defined = name === 'reciprocal' ? x.filter((value) => value !== 0) : x
    expectNear(name, defined, await forward(name, defined), unary[name])
    const ones = new Float32Array(defined.length).fill(1)
    // What is written in the rounded output cancels near saturation.
    const relative = unaryFunctions[name].saves === 'y' ? 5e-6 : 2e-6
    const dX = await backward(name, defined, ones)
    expectNear(`${name}'`, defined, dX, unaryGradients[name], relative)
  })

  it.each(['gelu', 'quickGelu', 'silu', 'relu', 'tanh', 'sigmoid', 'softplus', 'erf'] as const)(
    '%s and its derivative are finite and right at the edges',
    async (name) => {
      const x = Float32Array.from([...EDGES, ...EDGES.map((value) => -value)])
      expectNear(name, x, await forward(name, x), unary[name])
      const dX = await backward(name, x, new Float32Array(x.length).fill(1))
      expectNear(`${name}'`, x, dX, unaryGradients[name])
    },
  )

  it.each(names)('%s lets NaN through', async (name) => {
    const out = await forward(name, Float32Array.of(NaN, 1, NaN, 2, NaN))
    expect([...out].map(Number.isNaN)).toEqual([true, false, true, false, true])
  })

  it('log has its limits', async () => {
    const out = await forward('log', Float32Array.of(0, -0, -1, Infinity, 1))
    expect([...out]).toEqual([-Infinity, -Infinity, NaN, Infinity, 0])
  })

  it.each([1, 2, 3, 4, 5, 63, 64, 65, 1023, 1024, 1025, 4095, 4096, 4097])(
    'equal loops around a vec4 and a workgroup: %i elements',
    async (size) => {
      const x = Float32Array.from({ length: size }, (_, i) => i - size / 2)
      const dOut = Float32Array.from({ length: size }, (_, i) => (i % 7) - 3.5)
      expect([...(await forward('square', x))]).toEqual([...x.map((value) => value * value)])
      const dX = await backward('square', x, dOut)
      expect([...dX]).toEqual([...x.map((value, i) => 2 * value * dOut[i]!)])
      const { out } = await runKernel(
        device(),
        unaryKernel({ name: 'square', each: 16 }),
        { x: { data: x, shape: [size] } },
        { out: [size] },
        { size },
      )
      expect([...out!]).toEqual([...x.map((value) => value * value)])
    },
  )
})

describe('power', () => {
  const device = useDevice()

  it.each([0, 1, 2, 3, 7, -1, -2, 0.5, 1.5, -0.5, 2.7])('%f', async (exponent) => {
    const values = [0.01, 0.3, 1, 1.7, 3, 20, 150]
    const negative = Number.isInteger(exponent) ? values.map((value) => -value) : []
    const x = Float32Array.from([...values, ...negative])
    const { out } = await runKernel(
      device(),
      powerKernel({ each: 4 }),
      { x: { data: x, shape: [x.length] } },
      { out: [x.length] },
      { size: x.length, exponent },
    )
    out!.forEach((value, i) => {
      const expected = x[i]! ** Math.fround(exponent)
      expect(Math.abs(value - expected)).toBeLessThanOrEqual(3e-6 * Math.abs(expected))
    })
  })
})
