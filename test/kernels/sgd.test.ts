import { describe, it } from 'vitest'
import { sgdKernel } from '../../src/kernels/sgd.ts'
import { sgdTable } from '../../src/train/schedule.ts'
import * as reference from '../reference/optimizers.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { framed } from '../support/framed.ts'
import { randomArray } from '../support/random.ts'

const RATES = [0.1, 0.05, 0.02]
const BLOCK = 3
const MOMENTUM = 0.9

describe('sgd', () => {
  const device = useDevice()

  async function check(quads: number, groups: boolean, nesterov: boolean): Promise<void> {
    const size = 4 * quads
    const start = randomArray(size, 1)
    const rows = Math.ceil(quads / BLOCK)
    const table = randomArray(rows * 2, 2).map(Math.abs)
    const values = framed(device(), 'f32', [size], start)
    const velocity = framed(device(), 'f32', [size], new Float32Array(size))
    const step = device().tensor(Uint32Array.of(0), [1])
    const tensors = {
      values: values.tensor,
      velocity: velocity.tensor,
      step,
      schedule: device().tensor(sgdTable(RATES), [RATES.length, 4]),
      groups: device().tensor(table, [rows, 2]),
    }
    const groupOf = (i: number): reference.Group => {
      const row = Math.floor(i / 4 / BLOCK)
      return groups ? { rate: table[2 * row]!, decay: table[2 * row + 1]! } : { rate: 1, decay: 0 }
    }
    const expected = Float64Array.from(start)
    let buffer: Float64Array | undefined
    for (const [t, lr] of RATES.entries()) {
      const gradient = randomArray(size, 10 + t)
      step.write(Uint32Array.of(t))
      device().dispatch(
        sgdKernel({ groups, nesterov }),
        { ...tensors, gradients: device().tensor(gradient, [size]) },
        { quads, block: BLOCK, steps: RATES.length, momentum: MOMENTUM },
      )
      const settings = { lr, momentum: MOMENTUM, nesterov }
      buffer = reference.sgd(expected, buffer, gradient, groupOf, settings)
    }
    const name = `${size} values, groups ${groups}, nesterov ${nesterov}`
    expectClose(`${name}: values`, (await values.read()) as Float32Array, expected, 1e-5)
    expectClose(`${name}: velocity`, (await velocity.read()) as Float32Array, buffer!, 1e-5)
  }

  it.each([1, 63, 64, 65])('equals f64 loops over several steps: %i vec4s', async (quads) => {
    await check(quads, false, false)
    await check(quads, true, true)
  })
})
