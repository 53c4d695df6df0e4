/** A long run: `npm run fuzz -- --cases N --seed S [--from CASE] [--adapter NAME] [--kinds a,b]`. */
import { parseArgs } from 'node:util'
import { createDevice } from '../../src/index.node.ts'
import { fuzz } from './fuzz.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    adapter: { type: 'string' },
    kinds: { type: 'string' },
  },
})
const failures = await fuzz(() => createDevice({ adapter: values.adapter }), {
  cases: Number(values.cases),
  seed: Number(values.seed),
  from: Number(values.from),
  kinds: values.kinds?.split(','),
})
for (const failure of failures) console.log(failure)
console.log(`${failures.length} of ${values.cases} cases failed`)
process.exitCode = failures.length === 0 ? 0 : 1
