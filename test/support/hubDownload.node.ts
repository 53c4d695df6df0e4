/** Downloads the model whose manifest is the first argument, as a process of its own, and prints its path. */
import { downloadModel, parseManifest } from '../../src/index.node.ts'

console.log(await downloadModel(parseManifest(JSON.parse(process.argv[2]!))))
