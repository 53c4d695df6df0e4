import { describe, it } from 'vitest'
import { scaleColumnsKernel } from '../../src/kernels/scaleColumns.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { runKernel } from '../support/kernels.ts'
import { randomArray } from '../support/random.ts'

describe('scaleColumns', () => {
  const device = useDevice()

  it.each([
    [1, 1],
    [7, 9],
    [1, 64],
    [5, 13],
    [3, 100],
  ])('equals plain loops at %i × %i', async (rows, columns) => {
    const size = rows * columns
    const [x, factor] = [randomArray(size, 1), randomArray(columns, 2)]
    const { out } = await runKernel(
      device(),
      scaleColumnsKernel,
      { x: { data: x, shape: [size] }, factor: { data: factor, shape: [columns] } },
      { out: [size] },
      { size, columns },
    )
    const expected = Array.from(x, (value, i) => value * factor[i % columns]!)
    expectClose('out', out!, expected, 1e-7)
  })
})
