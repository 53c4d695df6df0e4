import { readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { closureOf, findViolations, importsOf, mayUseNode } from './support/architecture.ts'

const root = resolve(import.meta.dirname, '..')

/** The TypeScript sources under `folders`, by their path from the root. */
function readSources(...folders: string[]): Map<string, string> {
  const paths = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts') && name !== 'vite.config.ts')
      .map((name) => join(folder, name)),
  )
  return new Map(paths.map((path) => [path, readFileSync(join(root, path), 'utf8')]))
}

/** A tree of tiny files. */
const tree = (files: Record<string, string>) => new Map(Object.entries(files))

describe('the source tree', () => {
  const sources = readSources('src', 'web')

  test('keeps the import rules', () => {
    expect(sources.size).toBeGreaterThan(10)
    expect(findViolations(sources)).toEqual([])
  })

  test('gives a page no file that uses Node', () => {
    const closure = closureOf('src/index.ts', sources)
    expect(closure.size).toBeGreaterThan(10)
    expect([...closure].filter(mayUseNode)).toEqual([])
  })
})

describe('the import rules', () => {
  test('allow the way down, packages for Node files, and the inlined package', () => {
    const sources = tree({
      'src/kernels/a.ts': 'export const a = 1',
      'src/runtime/b.ts': `import { a } from '../kernels/a.ts'; export const b = a`,
      'src/model/m.ts': `import tiny from '../../weights/tiny/manifest.json'; export { tiny }`,
      'src/data/c.node.ts': `import sharp from 'sharp'; import '../runtime/b.ts'`,
      'src/train/metrics.ts': `import munkres from 'munkres'; export { munkres }`,
      'src/index.ts': `export * from './train/metrics.ts'`,
      'src/index.node.ts': `export * from './index.ts'; export * from './data/c.node.ts'`,
      'src/cli/main.ts': `import { readFile } from 'node:fs/promises'; import '../index.node.ts'; import '../../package.json'`,
      'web/main.ts': `import './style.css'; import url from '../weights/x.bin?url'; import '../src/index.ts'`,
    })
    expect(findViolations(sources)).toEqual([])
  })

  test.each([
    [
      'an import upwards',
      'src/kernels/a.ts',
      `import '../runtime/x.ts'`,
      'kernels may not import runtime',
    ],
    [
      'a type upwards',
      'src/model/a.ts',
      `import type { X } from '../train/x.ts'`,
      'model may not import train',
    ],
    [
      'a re-export upwards',
      'src/data/a.ts',
      `export * from '../index.ts'`,
      'data may not import index',
    ],
    [
      'a dynamic import upwards',
      'src/runtime/a.ts',
      `await import('../model/x.ts')`,
      'runtime may not import model',
    ],
    [
      'an import type upwards',
      'src/runtime/a.ts',
      `type T = import('../model/x.ts').T`,
      'runtime may not import model',
    ],
    [
      'the command line in a page',
      'web/main.ts',
      `import '../src/cli/x.ts'`,
      'web may import only src/index.ts',
    ],
    [
      'a deep import in a page',
      'web/main.ts',
      `import '../src/runtime/x.ts'`,
      'web may import only src/index.ts',
    ],
    [
      'Node in a page',
      'src/model/a.ts',
      `import { readFileSync } from 'node:fs'`,
      'may import Node',
    ],
    ['Node without its prefix', 'src/model/a.ts', `import 'fs'`, 'may import Node'],
    ['require', 'src/model/a.ts', `const fs = require('node:fs')`, 'may import Node'],
    ['an assignment import', 'src/model/a.ts', `import fs = require('fs')`, 'may import Node'],
    [
      'a package in a page',
      'src/runtime/a.ts',
      `import { create } from 'webgpu'`,
      'may import packages',
    ],
    ['the inlined package elsewhere', 'src/train/a.ts', `import 'munkres'`, 'may import packages'],
    [
      'a Node file in a page',
      'src/train/a.ts',
      `import '../data/x.node.ts'`,
      'also runs in a page',
    ],
    [
      'other JSON in a page',
      'src/model/a.ts',
      `import '../../weights/../package.json'`,
      'there is no package.json',
    ],
    ['a missing extension', 'src/train/a.ts', `import '../model/x'`, 'there is no src/model/x'],
    ['a file outside the layers', 'src/util/a.ts', '', 'src/util/a.ts is in no layer'],
    [
      'a cycle',
      'src/model/x.ts',
      `import './y.ts'`,
      'import cycle: src/model/x.ts → src/model/y.ts → src/model/x.ts',
    ],
  ])('refuse %s', (_, path, source, expected) => {
    const sources = tree({
      'src/runtime/x.ts': '',
      'src/model/x.ts': '',
      'src/model/y.ts': `import './x.ts'`,
      'src/data/x.node.ts': '',
      'src/train/x.ts': '',
      'src/index.ts': '',
      'src/cli/x.ts': '',
      [path]: source,
    })
    expect(findViolations(sources)).toEqual([expect.stringContaining(expected)])
  })

  test('let types of one layer name each other', () => {
    const sources = tree({
      'src/runtime/a.ts': `import type { B } from './b.ts'; export const a = 1`,
      'src/runtime/b.ts': `import { a } from './a.ts'; export type { A } from './a.ts'`,
    })
    expect(findViolations(sources)).toEqual([])
  })

  test('follow imports through every file', () => {
    const sources = tree({
      'src/index.ts': `import './train/a.ts'`,
      'src/train/a.ts': `export { b } from '../model/b.ts'`,
      'src/model/b.ts': `export const load = () => import('./c.ts')`,
      'src/model/c.ts': '',
      'src/model/unused.ts': '',
    })
    expect([...closureOf('src/index.ts', sources)].sort()).toEqual([
      'src/index.ts',
      'src/model/b.ts',
      'src/model/c.ts',
      'src/train/a.ts',
    ])
  })

  test('do not take text for an import', () => {
    const source = "// import './a.ts'\nconst text = `import './b.ts'`\nimport './c.ts'"
    expect(importsOf('src/model/a.ts', source)).toEqual([{ specifier: './c.ts', typeOnly: false }])
  })
})
