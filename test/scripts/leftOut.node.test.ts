import { execFile } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { describeLeftOut } from '../support/leftOutReporter.ts'

const root = resolve(import.meta.dirname, '../..')
const support = join(root, 'test/support')

it('a run ends with a line for each project that names what it left out, why, and where', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keeplight-left-out-'))
  try {
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
    const project = (name: string, pattern: string): string =>
      `{ test: { name: '${name}', include: ['${pattern}'] } }`
    await writeFile(
      join(folder, 'vitest.config.ts'),
      `export default { test: {
        reporters: [${JSON.stringify(join(support, 'leftOutReporter.ts'))}],
        projects: [${project('poor', '*.test.ts')}, ${project('rich', 'b.test.ts')}],
      } }`,
    )
    const head = `import { it } from 'vitest'
      import { leaveOut, supports } from ${JSON.stringify(join(support, 'leftOut.ts'))}
      const device = (...features) => ({ has: (name) => features.includes(name) })`
    const half = `supports(device(), 'shader-f16', 'sums in f16')`
    await writeFile(
      join(folder, 'a.test.ts'),
      `${head}
      it('first', () => { ${half}; ${half} })
      it('second', () => { ${half}; leaveOut('the rest', 'too few lanes') })`,
    )
    await writeFile(
      join(folder, 'b.test.ts'),
      `${head}
      it('has all', () => { supports(device('subgroups'), 'subgroups', 'broadcasts') })`,
    )
    const vitest = join(root, 'node_modules/vitest/vitest.mjs')
    const { stdout } = await promisify(execFile)(process.execPath, [vitest, 'run'], { cwd: folder })
    expect(stdout.trimEnd().split('\n').slice(-2)).toEqual([
      'left out on poor: sums in f16 (no shader-f16) in a.test.ts; the rest (too few lanes) in a.test.ts',
      'left out on rich: nothing',
    ])
  } finally {
    await rm(folder, { recursive: true })
  }
})

it('names every file of a part once', () => {
  const part = { project: 'p', what: 'w', why: 'y' }
  const notes = ['a', 'b', 'a'].map((file) => ({ ...part, file }))
  expect(describeLeftOut(['p', 'p'], notes)).toEqual(['left out on p: w (y) in a, b'])
})

it('no test is skipped in another way', () => {
  const silent =
    /\b(it|test|describe)\.(skip|skipIf|runIf|todo|fails)\b|\.has\('(shader-f16|subgroups)'\)/
  const sources = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !/^support\/(leftOut|kernels)\.ts$/.test(name),
  )
  expect(sources.length).toBeGreaterThan(100)
  const offenders = sources.filter((name) => {
    const text = readFileSync(join(root, 'test', name), 'utf8')
    return name !== 'scripts/leftOut.node.test.ts' && silent.test(text)
  })
  expect(offenders).toEqual([])
})
