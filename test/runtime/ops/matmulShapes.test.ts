import { expect, it } from 'vitest'
import { useDevice } from '../../support/device.ts'
import { multiplyShapes, SHAPES } from '../../support/matmulShapes.ts'

const device = useDevice()

it(`matmul at ${SHAPES} shapes has a normalised squared error below 1e-10, f16 outputs 1e-6`, async () => {
  const { shapes, worst, wrong } = await multiplyShapes(device())
  expect(wrong).toEqual([])
  expect(shapes).toBe(SHAPES)
  // An f16 output that were f32 in truth would have no error to speak of.
  expect(worst.f32).toBeGreaterThan(0)
  expect(worst.f16).toBeGreaterThan(1e-9)
})
