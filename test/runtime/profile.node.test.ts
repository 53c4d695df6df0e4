import { expect, it } from 'vitest'
import { createDevice } from '../../src/runtime/adapter.node.ts'
import { profileTable } from '../../src/runtime/profileReport.ts'
import { recoverDevice } from '../../src/runtime/recovery.ts'
import { scope } from '../../src/runtime/tensor.ts'
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

it('lets work go on over the loss of the device, and is then refused itself', async () => {
  const device = await createDevice({ adapter: 'lavapipe' })
  const values = Float32Array.from({ length: 64 }, (_, i) => i / 10)
  const run = async (): Promise<Float32Array> => {
    const x = device.tensor(values, [8, 8])
    return scope(() => softmax(x)).read()
  }
  const expected = await run()
  const results: Float32Array[] = []
  const profile = device.profile(async () => {
    results.push(await run())
    device.gpu.destroy()
    await device.lost
    await recoverDevice(device)
    results.push(await run())
  })
  await expect(profile).rejects.toMatchObject({
    code: 'device-lost',
    message: expect.stringContaining('take the profile again') as string,
  })
  expect(results).toEqual([expected, expected])
  expect((await device.profile(run)).records).toHaveLength(1)
  device.close()
})
