/** What a user of the npm package gets. Run after `npm run build`, as `npm test` does. */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gzipSync } from 'node:zlib'
import ts from 'typescript'
import { transformWithEsbuild } from 'vite'
import { beforeAll, describe, expect, test } from 'vitest'
import { buildProblem } from '../scripts/bootstrap/freshness.mjs'
import { importsOf } from './support/architecture.ts'

const root = resolve(import.meta.dirname, '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, unknown>
  bin: Record<string, string>
  dependencies: Record<string, string>
}

/** Every path that an `exports` entry names. */
function pathsOf(entry: unknown): string[] {
  return typeof entry === 'string' ? [entry] : Object.values(entry as object).flatMap(pathsOf)
}

/** Compiles a program that imports the package by its name, as a user's would. */
function compileUser(moduleResolution: ts.ModuleResolutionKind, module: ts.ModuleKind) {
  const path = join(root, 'user.ts')
  const options: ts.CompilerOptions = {
    module,
    moduleResolution,
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
    types: [],
    strict: true,
    skipDefaultLibCheck: true,
    noEmit: true,
  }
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists } = host
  host.fileExists = (name) => name === path || fileExists(name)
  host.readFile = (name) =>
    name === path
      ? `import { KeeplightError } from 'keeplight'\nexport const code: string = new KeeplightError('input', '').code\n`
      : readFile(name)
  const program = ts.createProgram([path], options, host)
  const messages = ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
  const types = program.getSourceFiles().map(({ fileName }) => fileName)
  return { messages, types: types.filter((name) => name.startsWith(join(root, 'dist'))) }
}

interface LockEntry {
  version?: string
  integrity?: string
  resolved?: string
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
}

/** Where Node would look for `name` from the package at `path`, outermost last. */
function* placesOf(path: string, name: string): Generator<string> {
  for (let folder = path; folder !== ''; folder = folder.slice(0, folder.lastIndexOf('/'))) {
    if (!folder.endsWith('node_modules')) yield `${folder}/node_modules/${name}`
    if (!folder.includes('/')) break
  }
  yield `node_modules/${name}`
}

test('the lock file is whole, platform binaries included, and names no server', () => {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockEntry>
  }
  const faults: string[] = []
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path !== '' && !(entry.version && entry.integrity)) faults.push(`${path} has no hash`)
    if (entry.resolved) faults.push(`${path} names a server`)
    // An npm that cannot find the binary of a platform leaves it out, and `npm ci` then refuses.
    for (const name of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) {
      const found = [...placesOf(path, name)].some((place) => place in lock.packages)
      if (!found) faults.push(`${path} wants ${name}`)
    }
  }
  expect(faults).toEqual([])
})

beforeAll(() => {
  const problem = buildProblem(root)
  if (problem) throw new Error(`${problem}; run: npm run build`)
})

describe('the package', () => {
  test('has every file that its manifest names', () => {
    const paths = [...pathsOf(manifest.exports), ...Object.values(manifest.bin)]
    expect(paths).toContain('./dist/index.node.d.ts')
    const missing = paths
      .map((path) => path.replace(/\*$/, ''))
      .filter((path) => !existsSync(join(root, path)))
    expect(missing).toEqual([])
  })

  test('ships its licences, its weights and no sources', () => {
    const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const [{ files }] = JSON.parse(output) as [{ files: { path: string }[] }]
    const paths = files.map(({ path }) => path)
    expect(paths).toEqual(
      expect.arrayContaining([
        'LICENSE',
        'README.md',
        'THIRD_PARTY_NOTICES',
        'dist/cli.js',
        'dist/decodeWorker.node.js',
        'weights/keeplight-tiny/model.safetensors',
      ]),
    )
    expect(paths.filter((path) => /^(src|test|scripts|bench|web|docs)\//.test(path))).toEqual([])
  })

  test.each([
    ['a bundler', ts.ModuleResolutionKind.Bundler, ts.ModuleKind.ESNext, 'dist/index.d.ts'],
    ['Node', ts.ModuleResolutionKind.NodeNext, ts.ModuleKind.NodeNext, 'dist/index.node.d.ts'],
  ])('gives %s types that compile on their own', (_, resolution, module, expected) => {
    const { messages, types } = compileUser(resolution, module)
    expect(messages).toEqual([])
    expect(types).toEqual([join(root, expected)])
  })

  test('is found by Node under its name', () => {
    const script = `import('keeplight').then((module) => console.log(typeof module.KeeplightError))`
    const output = execFileSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8' })
    expect(output.trim()).toBe('function')
  })
})

describe("the page's build", () => {
  const bundle = () => readFileSync(join(root, 'dist/index.js'), 'utf8')

  test('imports nothing', () => {
    expect(importsOf('index.js', bundle())).toEqual([])
  })

  test('stays small', async () => {
    // All of the library with its WGSL, minified as a page's bundler does, before it leaves out what
    // the page does not use. Raise the ceiling only with a sentence here on what it buys.
    // 55 → 100 kB: kernels for every op with its gradient, variants by adapter, profiling, tuning, recovery,
    // CLIP's text tower.
    // 100 → 118 kB: models by their names, twelve manifests with their traps in words (4 kB); weights read by
    // ranges, in f16 and int8, checked on the device (10 kB); pictures of any kind, block outputs and attention
    // maps, text by name (4 kB).
    // 118 → 132 kB: f16 activations in every op of a forward pass, tensors beyond one binding in batch norms,
    // scatterAdd, casts, slices and concat (4 kB); faster kernels of what memory bounds, of large products and of
    // attention's backward on software adapters (8 kB).
    // 132 → 162 kB: runs side by side, adapters (SCP with every option, TEMI, the linear probe, LoRA), checkpoints,
    // streaming and fresh views, the choice of K, t-SNE, search, and heads that are read back.
    const { code } = await transformWithEsbuild(bundle(), 'index.js', { minify: true })
    expect(gzipSync(code).length).toBeLessThan(162_000)
  })

  test('has no Node file and no package inside but the one whose licence we ship', () => {
    const map = JSON.parse(readFileSync(join(root, 'dist/index.js.map'), 'utf8')) as {
      sources: string[]
    }
    expect(map.sources.filter((path) => path.endsWith('.node.ts'))).toEqual([])
    const packages = map.sources
      .filter((path) => path.includes('node_modules/'))
      .map((path) => path.replace(/^.*node_modules\//, '').split('/')[0])
    expect(new Set(packages)).toEqual(new Set(['munkres']))
    expect(readFileSync(join(root, 'THIRD_PARTY_NOTICES'), 'utf8')).toContain('munkres')
  })
})
