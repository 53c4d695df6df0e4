/**
 * Long runs.
 *
 *     npm run fuzz -- --cases N --seed S [--adapter NAME] [--kinds a,b]     calls of the public API
 *     npm run fuzz -- files --count N --seed S [--kinds tar,zip]            mutated files
 */
import { parseArgs } from 'node:util'
import { createDevice } from '../../src/index.node.ts'
import { fuzz } from './fuzz.ts'
import { runFileFuzz } from './filesRun.node.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    cases: { type: 'string', default: '1000' },
    count: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    first: { type: 'string', default: '0' },
    adapter: { type: 'string' },
    kinds: { type: 'string' },
  },
})
const seed = Number(values.seed)
const kinds = values.kinds?.split(',')
const [what] = positionals

if (what === 'files') {
  const options = { count: Number(values.count), seed, first: Number(values.first), kinds }
  const failures = await runFileFuzz(options)
  process.exitCode = failures === 0 ? 0 : 1
} else if (what !== undefined) {
  console.error(`fuzz: expected "files" or nothing, got ${JSON.stringify(what)}`)
  process.exitCode = 2
} else {
  const failures = await fuzz(() => createDevice({ adapter: values.adapter }), {
    cases: Number(values.cases),
    seed,
    kinds,
  })
  for (const failure of failures) console.log(failure)
  console.log(`${failures.length} of ${values.cases} cases failed`)
  process.exitCode = failures.length === 0 ? 0 : 1
}
