/**
 * Runs the small run on this process's adapter and prints its hashes as JSON. A process of its own,
 * because Dawn looks for Vulkan drivers once in a process.
 */
import { createDevice, loadModel } from '../../src/index.node.ts'
import { smallRun } from './smallRun.ts'

const device = await createDevice()
try {
  const model = await loadModel('keeplight-tiny', { device })
  const run = await smallRun(device, model)
  await model.dispose()
  console.log(JSON.stringify({ adapter: device.adapter, run }))
} finally {
  device.close()
}
