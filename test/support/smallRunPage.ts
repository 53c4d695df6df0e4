/** What {@link ./smallRun.node.ts} does, in a page: importing this module runs it. */
import { createDevice, loadModel } from '../../src/index.ts'
import { smallRun } from './smallRun.ts'

const device = await createDevice()
const model = await loadModel('keeplight-tiny', { device })
const run = await smallRun(device, model)
await model.dispose()
device.close()

export const result = { adapter: device.adapter, run }
