/**
 * Multiplies at many shapes on this process's adapter and prints what came as JSON. A process of its
 * own, because a driver's lanes are settled when it is loaded.
 *
 *     tsx test/support/matmulShapes.node.ts [most multiply-adds of a shape] [feature to leave out]
 */
import { create, globals } from 'webgpu'
import { Device } from '../../src/runtime/device.ts'
import { multiplyShapes } from './matmulShapes.ts'
import { withoutFeature } from './withoutFeature.ts'

Object.assign(globalThis, globals)
const [work, feature] = process.argv.slice(2)
// Held on to: Dawn's instance must outlive its devices.
const gpu = create([])
const found = await gpu.requestAdapter()
if (!found) throw new Error('Dawn finds no adapter')
const device = await Device.fromAdapter(feature ? withoutFeature(found, feature) : found)
try {
  const start = performance.now()
  const result = await multiplyShapes(device, work ? Number(work) : undefined)
  const { adapter, features, kernelVariant } = device
  const seconds = (performance.now() - start) / 1000
  console.log(JSON.stringify({ ...adapter, features, kernelVariant, seconds, ...result }))
} finally {
  device.close()
}
