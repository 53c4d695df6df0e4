/** Runs the cases that `filesRun.node.ts` asks for, and tells it of each. */
import { fuzzFiles, type FileFuzzOptions } from './files.ts'
import type { ChildMessage } from './filesRun.node.ts'

const tell = (message: ChildMessage): unknown => process.send?.(message)
const options = JSON.parse(process.argv[2] ?? '{}') as FileFuzzOptions
const report = await fuzzFiles({ ...options, onCase: (begins) => tell({ begins }) })
tell({ report })
process.disconnect?.()
