import { describe, expect, it } from 'vitest'
import type { Activation } from '../../src/kernels/activations.ts'
import {
  activationBackwardKernel,
  activationKernel,
  addKernel,
  fillKernel,
  multiplyKernel,
  scaleByKernel,
  scaleKernel,
} from '../../src/kernels/elementwise.ts'
import { MAX_WORKGROUPS } from '../../src/kernels/kernel.ts'
import { activationGradients, activations } from '../reference/activations.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

const names: Activation[] = ['none', 'relu', 'gelu', 'quickGelu', 'silu']

describe('elementwise kernels', () => {
  const device = useDevice()

  it.each([1, 63, 64, 65, 300])('equal loops around a workgroup: %i elements', async (size) => {
    const operand = (seed: number) => ({ data: randomArray(size, seed), shape: [size] })
    const [a, b] = [operand(1), operand(2)]
    const factor = { data: Float32Array.of(-1.5), shape: [1] }
    const outputs = { out: [size] }
    const map = (value: (i: number) => number): number[] =>
      Array.from({ length: size }, (_, i) => Math.fround(value(i)))

    const fill = await runKernel(device(), fillKernel, {}, outputs, { size, value: 2.5 })
    expect([...fill.out!]).toEqual(map(() => 2.5))
    const scale = await runKernel(device(), scaleKernel, { x: a }, outputs, { size, scale: 0.25 })
    expect([...scale.out!]).toEqual(map((i) => 0.25 * a.data[i]!))
    const scaleBy = await runKernel(device(), scaleByKernel, { x: a, factor }, outputs, { size })
    expect([...scaleBy.out!]).toEqual(map((i) => -1.5 * a.data[i]!))
    const add = await runKernel(device(), addKernel, { a, b }, outputs, { size, period: size })
    expect([...add.out!]).toEqual(map((i) => a.data[i]! + b.data[i]!))
    const row = await runKernel(device(), addKernel, { a, b }, outputs, { size, period: 3 })
    expect([...row.out!]).toEqual(map((i) => a.data[i]! + b.data[i % 3]!))
    const multiply = await runKernel(device(), multiplyKernel, { a, b }, outputs, { size })
    expect([...multiply.out!]).toEqual(map((i) => a.data[i]! * b.data[i]!))
  })

  it('spills workgroups into y past the limit of one dimension', () => {
    const size = 64 * MAX_WORKGROUPS + 1
    const [x, y, z] = fillKernel.workgroups({ size, value: 0 })
    expect(x).toBeLessThanOrEqual(MAX_WORKGROUPS)
    expect([y, z]).toEqual([2, 1])
    expect(x * y * 64).toBeGreaterThanOrEqual(size)
    expect(fillKernel.workgroups({ size: 64 * MAX_WORKGROUPS, value: 0 })).toEqual([
      MAX_WORKGROUPS,
      1,
      1,
    ])
  })

  it('writes every element when workgroups spill into y', async () => {
    const size = 64 * MAX_WORKGROUPS + 1
    const out = device().empty([size])
    device().dispatch(fillKernel, { out }, { size, value: 3 })
    const values = await out.read()
    out.dispose()
    device().trim()
    expect(values.every((value) => value === 3)).toBe(true)
  })
})

describe('activations', () => {
  const device = useDevice()

  async function run(name: Activation, x: Float32Array): Promise<[Float32Array, Float32Array]> {
    const size = x.length
    const operand = { data: x, shape: [size] }
    const ones = { data: new Float32Array(size).fill(1), shape: [size] }
    const { out } = await runKernel(
      device(),
      activationKernel(name),
      { x: operand },
      { out: [size] },
      { size },
    )
    const { dX } = await runKernel(
      device(),
      activationBackwardKernel(name),
      { x: operand, dOut: ones },
      { dX: [size] },
      { size },
    )
    return [out!, dX!]
  }

  /** |actual − expected| within `relative` of the value, or within 1e-7 near zero. */
  function expectNear(
    name: string,
    x: Float32Array,
    actual: Float32Array,
    expected: (x: number) => number,
    relative: number,
  ): void {
    for (const [i, value] of actual.entries()) {
      const wanted = expected(x[i]!)
      const near = Math.abs(value - wanted) <= relative * Math.abs(wanted) + 1e-7
      if (!near) expect.fail(`${name}(${x[i]}): expected ${wanted}, got ${value}`)
    }
  }

  it.each(names)('%s and its derivative equal f64 from −20 to 20', async (name) => {
    const x = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100)
    const [out, dX] = await run(name, x)
    expectNear(name, x, out, activations[name], 2e-6)
    expectNear(`${name}'`, x, dX, activationGradients[name], 2e-6)
  })

  it.each(names)('%s and its derivative are finite and right at the edges', async (name) => {
    const edges = [0, 1e-37, 1e-6, 0.5, 1, 1.5, 4, 11.1, 13.3, 15, 50, 85, 88.8, 104, 1e4, 3e38]
    const x = Float32Array.from([...edges, ...edges.map((value) => -value)])
    const [out, dX] = await run(name, x)
    expectNear(name, x, out, activations[name], 2e-6)
    expectNear(`${name}'`, x, dX, activationGradients[name], 2e-6)
  })

  it('multiply the gradient that comes in', async () => {
    const size = 65
    const x = randomArray(size, 1, 4)
    const dOut = randomArray(size, 2)
    for (const name of names) {
      const { dX } = await runKernel(
        device(),
        activationBackwardKernel(name),
        { x: { data: x, shape: [size] }, dOut: { data: dOut, shape: [size] } },
        { dX: [size] },
        { size },
      )
      for (let i = 0; i < size; i++) {
        expect(dX![i]).toBeCloseTo(dOut[i]! * activationGradients[name](x[i]!), 5)
      }
    }
  })
})
