/** A long run: `npm run fuzz -- --cases N --seed S [--adapter NAME] [--kinds a,b]`. */
import { parseArgs } from 'node:util'
import { createDevice } from '../../src/index.node.ts'
import { fuzz } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    adapter: { type: 'string' },
    kinds: { type: 'string' },
  },
})
const failures = await fuzz(() => createDevice({ adapter: values.adapter }), {
  cases: Number(values.cases),
  seed: Number(values.seed),
  kinds: values.kinds?.split(','),
})
for (const failure of failures) console.log(failure)
console.log(`${failures.length} of ${values.cases} cases failed`)
process.exitCode = failures.length === 0 ? 0 : 1
