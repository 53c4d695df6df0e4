/**
 * Prints the hash of every op of the catalogue on this process's adapter as JSON. A process of its
 * own, because Dawn looks for Vulkan drivers once in a process.
 */
import { createDevice } from '../../src/index.node.ts'
import { hashCatalogue } from './run.ts'

const device = await createDevice()
try {
  console.log(JSON.stringify({ adapter: device.adapter, run: await hashCatalogue(device) }))
} finally {
  device.close()
}
