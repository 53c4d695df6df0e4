/**
 * Seeds one fault at a time into a temporary copy of the tree and runs the tests that must catch it.
 * Prints every fault with its outcome, keeps it in `verdicts.json`, and fails when too many were missed,
 * when a fault no longer applies, or when the tests fail without any.
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
import { SHARE, doesApply, readVerdicts, titleOf, writeVerdicts } from './verdicts.mjs'

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

const stale = faults.filter((fault) => !doesApply(fault, root))
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
  const sound = await runSound()
  if (sound.code !== 0) {
    console.error(`the tests fail without a fault:\n${sound.output}`)
    process.exitCode = 2
  } else await seedAll()
} finally {
  rmSync(copy, { recursive: true, force: true })
}

/** Every test that is asked for, without a fault, on each adapter that it is asked for on. */
async function runSound() {
  let result = { code: 0, output: '' }
  for (const project of new Set(chosen.map(({ project }) => project))) {
    const tests = chosen.filter((fault) => fault.project === project).flatMap(({ tests }) => tests)
    if (result.code === 0) result = await run(project, [...new Set(tests)])
  }
  return result
}

async function seedAll() {
  let caught = 0
  for (const fault of chosen) {
    const { file, find, replace, tests, project } = fault
    const path = join(copy, 'src', file)
    const text = readFileSync(path, 'utf8')
    writeFileSync(
      path,
      text.replace(find, () => replace),
    )
    const { code, output } = await run(project, tests)
    writeFileSync(path, text)
    // Vitest ends with 1 for a failed test; anything else is no verdict of a test.
    const by = code === 1 ? /^ *FAIL +\|\w+\| (?:test\/)?(.+?)\s*$/m.exec(output)?.[1] : undefined
    // A fault that doesn't compile shows nothing about the tests.
    const broken = /parsing WGSL|validating shader|compiling \S+:/i.exec(output)?.[0]
    const none = broken ?? (by || code === 0 ? undefined : `code ${code}`)
    if (by && !broken) caught++
    const verdict = none ? `NO VERDICT (${none})` : by ? 'caught' : 'MISSED'
    console.log(`${verdict}  ${titleOf(fault)}${by ? `, by ${by}` : ''}`)
    if (!none) {
      /** @type {import('./verdicts.mjs').Verdict} */
      const entry = by
        ? { verdict: 'caught', adapter: project, by }
        : { verdict: 'missed', adapter: project }
      // Read again each time: another run may be at work on other faults.
      writeVerdicts({ ...readVerdicts(), [titleOf(fault)]: entry })
    }
  }
  console.log(`${caught} of ${chosen.length} faults caught`)
  process.exitCode = caught >= SHARE * chosen.length ? 0 : 1
}

/**
 * @param {string} project
 * @param {readonly string[]} tests
 * @returns {Promise<{ code: number, output: string }>}
 */
function run(project, tests) {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const files = tests.map((test) => `test/${test}`)
  const args = [vitest, 'run', '--project', project, '--bail', '1', ...files]
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
