import { describe, expect, it } from 'vitest'
import { adamKernel, advanceKernel } from '../../src/kernels/adam.ts'
import { adamTable, cosineSchedule } from '../../src/train/schedule.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { randomArray } from '../support/random.ts'

describe('adam', () => {
  const device = useDevice()

  it.each([1, 63, 64, 65])('equals f64 loops over several steps: %i values', async (size) => {
    const steps = 4
    const rates = cosineSchedule(steps, 0.01)
    const start = randomArray(size, 1)
    const tensors = {
      values: device().tensor(start, [size]),
      moments: device().tensor(new Float32Array(size), [size]),
      squares: device().tensor(new Float32Array(size), [size]),
      schedule: device().tensor(adamTable(rates), [steps, 4]),
      step: device().tensor(new Uint32Array([0, 0]), [2]),
    }
    const values = Float64Array.from(start)
    const m = new Float64Array(size)
    const v = new Float64Array(size)
    for (let t = 0; t < steps; t++) {
      const gradient = randomArray(size, 10 + t)
      tensors.step.write(new Uint32Array([t, 0]))
      device().dispatch(
        adamKernel,
        { ...tensors, gradients: device().tensor(gradient, [size]) },
        { size, steps, beta2: 0.999, complement1: 0.1, complement2: 0.001, eps: 1e-8 },
      )
      for (let i = 0; i < size; i++) {
        m[i] = 0.9 * m[i]! + 0.1 * gradient[i]!
        v[i] = 0.999 * v[i]! + 0.001 * gradient[i]! ** 2
        const corrected = Math.sqrt(v[i]! / (1 - 0.999 ** (t + 1))) + 1e-8
        values[i]! -= (rates[t]! * m[i]!) / (1 - 0.9 ** (t + 1)) / corrected
      }
    }
    expectClose('values', await tensors.values.read(), values, 1e-5)
    expectClose('moments', await tensors.moments.read(), m, 1e-5)
    expectClose('squares', await tensors.squares.read(), v, 1e-5)
  })

  it('advance writes its own row of the trace and counts the step', async () => {
    const tensors = {
      terms: device().tensor(Float32Array.from([1, 2, 3, 4]), [4]),
      schedule: device().tensor(adamTable([0.5, 0.25, 0.125]), [3, 4]),
      step: device().tensor(new Uint32Array([1, 9]), [2]),
      trace: device().tensor(new Float32Array(15).fill(-1), [3, 5]),
    }
    device().dispatch(advanceKernel, tensors, { steps: 3 })
    expect([...(await tensors.step.read())]).toEqual([2, 9])
    const rest = Array<number>(5).fill(-1)
    expect([...(await tensors.trace.read())]).toEqual([...rest, 1, 2, 3, 4, 0.25, ...rest])
  })
})

describe('cosineSchedule', () => {
  it('starts at the initial rate, is half-way in the middle, and never reaches the final one', () => {
    const rates = cosineSchedule(100, 1e-3, 1e-5)
    expect(rates[0]).toBe(1e-3)
    expect(rates[50]).toBeCloseTo((1e-3 + 1e-5) / 2, 12)
    expect(rates[99]).toBeGreaterThan(1e-5)
  })
})
