import { describe, expect, it } from 'vitest'
import { adamKernel, advanceKernel } from '../../src/kernels/adam.ts'
import { adamTable, cosineSchedule } from '../../src/train/schedule.ts'
import * as reference from '../reference/optimizers.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { framed } from '../support/framed.ts'
import { randomArray } from '../support/random.ts'

const OPTIONS = { beta1: 0.9, beta2: 0.999 }
const STEPS = 4
/** vec4s that share a group. */
const BLOCK = 3

describe('adam', () => {
  const device = useDevice()

  async function check(quads: number, groups: boolean, eps = 1e-8): Promise<void> {
    const size = 4 * quads
    const rates = cosineSchedule(STEPS, 0.01)
    const start = randomArray(size, 1)
    const rows = Math.ceil(quads / BLOCK)
    const table = randomArray(rows * 2, 2).map(Math.abs)
    const values = framed(device(), 'f32', [size], start)
    const moments = framed(device(), 'f32', [size], new Float32Array(size))
    const squares = framed(device(), 'f32', [size], new Float32Array(size))
    const tensors = {
      values: values.tensor,
      moments: moments.tensor,
      squares: squares.tensor,
      schedule: device().tensor(adamTable(rates, OPTIONS), [STEPS, 4]),
      step: device().tensor(new Uint32Array([0, 0]), [2]),
      groups: device().tensor(table, [rows, 2]),
    }
    const expected = {
      values: Float64Array.from(start),
      moments: new Float64Array(size),
      squares: new Float64Array(size),
    }
    const groupOf = (i: number): reference.Group => {
      const row = Math.floor(i / 4 / BLOCK)
      return groups ? { rate: table[2 * row]!, decay: table[2 * row + 1]! } : { rate: 1, decay: 0 }
    }
    for (let t = 0; t < STEPS; t++) {
      const gradient = randomArray(size, 10 + t)
      tensors.step.write(new Uint32Array([t, 0]))
      device().dispatch(
        adamKernel({ groups }),
        { ...tensors, gradients: device().tensor(gradient, [size]) },
        {
          quads,
          block: BLOCK,
          steps: STEPS,
          beta2: 0.999,
          complement1: 0.1,
          complement2: 0.001,
          eps,
        },
      )
      reference.adamW(expected, gradient, groupOf, { t: t + 1, lr: rates[t]!, eps, ...OPTIONS })
    }
    const name = `${size} values${groups ? ', groups' : ''}`
    expectClose(`${name}: values`, await floats(values), expected.values, 1e-5)
    expectClose(`${name}: moments`, await floats(moments), expected.moments, 1e-5)
    expectClose(`${name}: squares`, await floats(squares), expected.squares, 1e-5)
  }

  it.each([1, 63, 64, 65])('equals f64 loops over several steps: %i vec4s', async (quads) => {
    await check(quads, false)
    await check(quads, true)
  })

  it('adds an eps of the size of the gradients to the corrected root', async () => {
    await check(5, false, 0.5)
    await check(5, true, 0.5)
  })

  it('advance writes its own row of the trace for every run and counts the steps', async () => {
    const table = adamTable([0.5, 0.25, 0.125])
    const tensors = {
      terms: device().tensor(Float32Array.from([1, 10, 2, 20, 3, 30]), [3, 2]),
      schedule: device().tensor(table, [3, 4]),
      step: device().tensor(new Uint32Array([1, 9, 1, 7]), [2, 2]),
      trace: device().tensor(new Float32Array(24).fill(-1), [3, 2, 4]),
      current: device().tensor(new Float32Array(4).fill(-1), [1, 4]),
    }
    device().dispatch(advanceKernel, tensors, { steps: 3, runs: 2, terms: 3 })
    expect([...(await tensors.step.read())]).toEqual([2, 9, 2, 7])
    const rest = Array<number>(8).fill(-1)
    const rows = [1, 2, 3, 0.25, 10, 20, 30, 0.25]
    expect([...(await tensors.trace.read())]).toEqual([...rest, ...rows, ...rest])
    expect(await tensors.current.read()).toEqual(table.subarray(4, 8))
  })
})

const floats = async (frame: { read(): Promise<unknown> }): Promise<Float32Array> =>
  (await frame.read()) as Float32Array

describe('cosineSchedule', () => {
  it('starts at the initial rate, is half-way in the middle, and never reaches the final one', () => {
    const rates = cosineSchedule(100, 1e-3, 1e-5)
    expect(rates[0]).toBe(1e-3)
    expect(rates[50]).toBeCloseTo((1e-3 + 1e-5) / 2, 12)
    expect(rates[99]).toBeGreaterThan(1e-5)
  })
})
