import { expect, it } from 'vitest'
import { createDevice } from '../../src/runtime/adapter.node.ts'
import { profileTable } from '../../src/runtime/profileReport.ts'
import { softmax } from '../../src/runtime/ops/index.ts'

it('says so when the driver rounds timestamps, as browsers do', async () => {
  const device = await createDevice({ toggles: ['timestamp_quantization'] })
  const x = device.tensor(new Float32Array(64).fill(1), [8, 8])
  const profile = await device.profile(() => {
    for (let i = 0; i < 4; i++) softmax(x).dispose()
  })
  device.close()
  expect(profile.records).toHaveLength(4)
  expect(profile.quantized).toBe(true)
  expect(profile.resolution % 65_536).toBe(0)
  expect(profileTable(profile)).toContain('timestamps are rounded')
})
