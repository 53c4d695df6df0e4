import { describe, expect, it } from 'vitest'
import { Parameters } from '../../src/runtime/parameters.ts'
import { adamW } from '../../src/train/adam.ts'
import { decayMatrices, parameterGroups } from '../../src/train/parameterGroups.ts'
import { adamTable, sgdTable } from '../../src/train/schedule.ts'
import { sgd } from '../../src/train/sgd.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { errorOf } from '../support/errorOf.ts'
import { randomArray } from '../support/random.ts'

describe('optimisers with groups', () => {
  const device = useDevice()
  const shapes = new Map([
    ['weight', [5, 70]],
    ['bias', [70]],
    ['scale', [1]],
  ])

  const make = (): Parameters => {
    const parameters = new Parameters(device(), shapes)
    parameters.write(
      new Map(
        Array.from(shapes, ([name, shape], seed) => {
          return [
            name,
            randomArray(
              shape.reduce((a, b) => a * b, 1),
              seed,
            ),
          ]
        }),
      ),
    )
    return parameters
  }

  it('AdamW decays matrices alone, whatever their neighbours in the buffer', async () => {
    const parameters = make()
    const before = await parameters.read()
    const { size } = parameters.values
    const zeros = () => device().tensor(new Float32Array(size), [size])
    const table = device().tensor(adamTable([0.5]), [1, 4])
    const step = device().tensor(Uint32Array.of(0), [1])
    const groups = parameterGroups(parameters, decayMatrices(0.25))
    // Without gradients there is nothing but the decay.
    adamW(parameters, { moments: zeros(), squares: zeros() }, table, step, groups)
    const after = await parameters.read()
    const shrunk = before.get('weight')!.map((value) => value * (1 - 0.5 * 0.25))
    expectClose('weight', after.get('weight')!, shrunk, 1e-6)
    expect([...after.get('bias')!]).toEqual([...before.get('bias')!])
    expect([...after.get('scale')!]).toEqual([...before.get('scale')!])
    expect((await parameters.values.read()).every(Number.isFinite)).toBe(true)
    groups.table.dispose()
    parameters.dispose()
  })

  it('SGD leaves a parameter of rate 0 as it is and moves the others at their rates', async () => {
    const parameters = make()
    const before = await parameters.read()
    const { size } = parameters.values
    parameters.gradients.write(new Float32Array(size).fill(1))
    const velocity = device().tensor(new Float32Array(size), [size])
    const table = device().tensor(sgdTable([0.5]), [1, 4])
    const step = device().tensor(Uint32Array.of(0), [1])
    const rates: Record<string, number> = { weight: 0, bias: 1, scale: 2 }
    const groups = parameterGroups(parameters, (name) => ({ rate: rates[name]! }))
    sgd(parameters, velocity, table, step, { momentum: 0.5, groups })
    const after = await parameters.read()
    expect([...after.get('weight')!]).toEqual([...before.get('weight')!])
    expectClose(
      'bias',
      after.get('bias')!,
      before.get('bias')!.map((x) => x - 0.5),
      1e-6,
    )
    expectClose(
      'scale',
      after.get('scale')!,
      before.get('scale')!.map((x) => x - 1),
      1e-6,
    )
  })

  it('names what it cannot take', () => {
    const parameters = make()
    expect(errorOf(() => parameterGroups(parameters, () => ({ decay: -1 }))).message).toBe(
      'parameterGroups: the decay of weight is -1, expected a number from 0',
    )
    const table = device().tensor(sgdTable([0.5]), [1, 4])
    const step = device().tensor(Uint32Array.of(0), [1])
    const { size } = parameters.values
    expect(errorOf(() => sgd(parameters, device().empty([4]), table, step)).message).toBe(
      `sgd: velocity has shape [4], expected [${size}]`,
    )
    const velocity = device().empty([size])
    expect(errorOf(() => sgd(parameters, velocity, table, step, { momentum: 1 })).message).toBe(
      'sgd: momentum is 1, expected from 0 to below 1',
    )
  })
})
