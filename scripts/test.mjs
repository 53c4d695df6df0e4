/**
 * The whole test run: formatter, linter and type checker, then every Vitest project. Its last line
 * is `N passed, N failed`, where each of the three checks counts as one test.
 *
 * With arguments (`npm test -- --project lavapipe test/kernels`) it runs only Vitest, with them.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { countResults } from './testCounts.mjs'

const CHECKS = [
  { name: 'format', command: ['prettier', '--check', '.'] },
  { name: 'lint', command: ['eslint', '.'] },
  { name: 'types', command: ['tsc'] },
]

const args = process.argv.slice(2)
const checks = args.length === 0 ? await Promise.all(CHECKS.map(check)) : []
const tests = await runVitest(args)

const passed = checks.filter(Boolean).length + tests.passed
const failed = checks.filter((ok) => !ok).length + tests.failed
if (tests.problem) console.error(`vitest: ${tests.problem}`)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1

/**
 * Runs one static check and prints what it has to say in one piece.
 * @param {{ name: string, command: string[] }} check
 * @returns {Promise<boolean>}
 */
async function check({ name, command }) {
  const start = performance.now()
  const { code, output } = await run(command, 'pipe')
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  console.log(`${name}: ${code === 0 ? 'ok' : 'FAILED'} (${seconds} s)`)
  if (code !== 0) console.log(output)
  return code === 0
}

/** @param {string[]} filters */
async function runVitest(filters) {
  const folder = mkdtempSync(join(tmpdir(), 'keeplight-test-'))
  const report = join(folder, 'report.json')
  try {
    const names = ['default', 'json', './test/support/leftOutReporter.ts']
    const reporters = [...names.map((name) => `--reporter=${name}`), `--outputFile.json=${report}`]
    const { code } = await run(['vitest', 'run', ...reporters, ...filters], 'inherit')
    return countResults(readReport(report), code)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @param {string} path */
function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * @param {string[]} command a program of node_modules/.bin and its arguments
 * @param {'pipe' | 'inherit'} output
 * @returns {Promise<{ code: number, output: string }>}
 */
function run([program, ...rest], output) {
  const bin = join(import.meta.dirname, '../node_modules/.bin', program)
  const child = spawn(bin, rest, { stdio: ['inherit', output, output] })
  const chunks = /** @type {Buffer[]} */ ([])
  child.stdout?.on('data', (chunk) => chunks.push(chunk))
  child.stderr?.on('data', (chunk) => chunks.push(chunk))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => {
      resolve({ code: code ?? 1, output: Buffer.concat(chunks).toString() })
    })
  })
}
