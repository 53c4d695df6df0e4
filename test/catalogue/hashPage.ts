/** What {@link ./hash.node.ts} does, in a page: importing this module runs it. */
import { createDevice } from '../../src/index.ts'
import { hashCatalogue } from './run.ts'

const device = await createDevice()
const run = await hashCatalogue(device)
device.close()

export const result = { adapter: device.adapter, run }
