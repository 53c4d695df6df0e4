/**
 * Seeds one fault at a time into a temporary copy of the tree and runs the tests that must catch it,
 * on lavapipe. Prints every fault with its outcome and fails when too many were missed, when a fault no
 * longer applies, or when the tests fail without any.
 *
 *     npm run test:faults                 all of them
 *     npm run test:faults -- --only matmul    those whose file or name contains a word
 *     npm run test:faults -- --from 10 --count 5
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { faults } from './faults.mjs'

/** reliability.md, test 26: 38 of 40. */
const SHARE = 38 / 40
const COPIED = [
  'src',
  'test',
  'scripts',
  'docs',
  'weights',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
]

const root = resolve(import.meta.dirname, '../..')
const { values } = parseArgs({
  options: { only: { type: 'string' }, from: { type: 'string' }, count: { type: 'string' } },
})
const from = Number(values.from ?? 0)
const chosen = faults
  .filter(({ file, name }) => !values.only || `${file} ${name}`.includes(values.only))
  .slice(from, from + Number(values.count ?? faults.length))

/** @type {(fault: import('./faults.mjs').Fault) => string} */
const titleOf = ({ file, name }) => `${file}: ${name}`

const stale = faults.filter(({ file, find }) => {
  return readFileSync(join(root, 'src', file), 'utf8').split(find).length !== 2
})
if (stale.length > 0) {
  console.error(`these no longer apply exactly once:\n${stale.map(titleOf).join('\n')}`)
  process.exit(2)
}

if (chosen.length === 0) {
  console.error('no fault is chosen by these options')
  process.exit(2)
}

const copy = mkdtempSync(join(tmpdir(), 'keeplight-faults-'))
try {
  for (const name of COPIED) cpSync(join(root, name), join(copy, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  const sound = await run([...new Set(chosen.flatMap(({ tests }) => tests))])
  if (sound.code !== 0) {
    console.error(`the tests fail without a fault:\n${sound.output}`)
    process.exitCode = 2
  } else await seedAll()
} finally {
  rmSync(copy, { recursive: true, force: true })
}

async function seedAll() {
  let caught = 0
  for (const fault of chosen) {
    const { file, find, replace, tests, invisible } = fault
    const path = join(copy, 'src', file)
    const text = readFileSync(path, 'utf8')
    writeFileSync(
      path,
      text.replace(find, () => replace),
    )
    const { code, output } = await run(tests)
    writeFileSync(path, text)
    // Vitest ends with 1 for a failed test; anything else is no verdict of a test.
    const failed = code === 1 && /\bfailed\b/.test(output)
    if (failed) caught++
    const verdict = failed ? 'caught' : code === 0 ? 'MISSED' : `NO VERDICT (${code})`
    console.log(`${verdict}  ${titleOf(fault)}${!failed && invisible ? ` (${invisible})` : ''}`)
  }
  console.log(`${caught} of ${chosen.length} faults caught`)
  process.exitCode = caught >= SHARE * chosen.length ? 0 : 1
}

/**
 * @param {readonly string[]} tests
 * @returns {Promise<{ code: number, output: string }>}
 */
function run(tests) {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const files = tests.map((test) => `test/${test}`)
  const args = [vitest, 'run', '--project', 'lavapipe', '--bail', '1', ...files]
  const shared = resolve(root, process.env.KEEPLIGHT_SHARED ?? '../shared')
  const child = spawn(process.execPath, args, {
    cwd: copy,
    env: { ...process.env, KEEPLIGHT_SHARED: shared, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const chunks = /** @type {Buffer[]} */ ([])
  child.stdout.on('data', (chunk) => chunks.push(chunk))
  child.stderr.on('data', (chunk) => chunks.push(chunk))
  // A seeded fault may hang a driver.
  const timer = setTimeout(() => child.kill('SIGKILL'), 180_000)
  return new Promise((done, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      clearTimeout(timer)
      done({ code: code ?? 137, output: Buffer.concat(chunks).toString() })
    })
  })
}
