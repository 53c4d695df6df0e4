import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  findChromium,
  findLavapipeIcd,
  findSwiftshaderIcd,
  runtimeFolder,
} from '../../scripts/adapters.mjs'
import {
  BUILD_OUTPUTS,
  buildProblem,
  lockProblem,
  modulesProblem,
} from '../../scripts/bootstrap/freshness.mjs'
import { nodeProblem } from '../../scripts/bootstrap/node.mjs'

test.each([
  ['18.20.4', false],
  ['20.0.0', false],
  ['20.19.0', true],
  ['21.7.3', false],
  ['22.11.0', false],
  ['22.12.0', true],
  ['24.1.0', true],
])('Node %s can build: %s', (version, can) => {
  expect(nodeProblem(version) === undefined).toBe(can)
})

describe('what the machine has', () => {
  const entry = { version: '1.0.0', integrity: 'sha512-a' }
  const lock = (packages: Record<string, object>) => ({ packages: { '': {}, ...packages } })

  test('follows the lock file, platform binaries apart', () => {
    const wanted = lock({
      'node_modules/a': entry,
      'node_modules/b': { ...entry, optional: true },
    })
    expect(lockProblem(wanted, lock({ 'node_modules/a': entry }))).toBeUndefined()
    expect(lockProblem(wanted, lock({}))).toContain('wants a 1.0.0, installed is none')
    const older = lock({ 'node_modules/a': { ...entry, version: '0.9.0' } })
    expect(lockProblem(wanted, older)).toContain('wants a 1.0.0, installed is 0.9.0')
    const other = lock({ 'node_modules/a': { ...entry, integrity: 'sha512-b' } })
    expect(lockProblem(wanted, other)).toBeDefined()
  })

  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'keeplight-bootstrap-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  const write = (path: string, time: number, text = '') => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
    utimesSync(join(folder, path), time, time)
  }

  test('sees that modules were never installed', () => {
    expect(modulesProblem(folder)).toBe('node_modules is missing')
  })

  test('wants a build when an output is missing, a source is newer or a file is gone', () => {
    const inputs = ['package.json', 'package-lock.json', 'tsconfig.json', 'tsdown.config.ts']
    for (const path of [...inputs, 'src/a.ts', 'src/b/c.ts', 'weights/a.json']) write(path, 1000)
    const age = (time: number) => {
      for (const path of ['src/b', 'src', 'weights']) utimesSync(join(folder, path), time, time)
    }
    age(1000)
    for (const path of BUILD_OUTPUTS.slice(1)) write(path, 2000)
    expect(buildProblem(folder)).toBe('dist/index.js is missing')
    write('dist/index.js', 2000)
    expect(buildProblem(folder)).toBeUndefined()
    write('src/b/c.ts', 3000)
    age(1000)
    expect(buildProblem(folder)).toBe('src/b/c.ts is newer than dist')
    rmSync(join(folder, 'src/b/c.ts'))
    expect(buildProblem(folder)).toBe('src/b is newer than dist')
  })

  test('finds drivers by their manifests', () => {
    expect(findLavapipeIcd([folder, join(folder, 'none')])).toBeUndefined()
    write('radeon_icd.x86_64.json', 1)
    write('lvp_icd.x86_64.json', 1)
    expect(findLavapipeIcd([folder])).toBe(join(folder, 'lvp_icd.x86_64.json'))
  })

  test('finds Chromium by name, on the path and in Playwright’s folder, but no snap', () => {
    const program = (path: string, text: string) => {
      write(path, 1, text)
      chmodSync(join(folder, path), 0o755)
      return join(folder, path)
    }
    const env = { PATH: join(folder, 'bin'), PLAYWRIGHT_BROWSERS_PATH: join(folder, 'cache') }
    program('bin/chromium', '#!/bin/sh\nexec /snap/bin/chromium "$@"\n')
    expect(findChromium(env)).toBeUndefined()
    program('cache/chromium-90/chrome-linux/chrome', 'old')
    const cached = program('cache/chromium-1200/chrome-linux64/chrome', 'new')
    expect(findChromium(env)).toBe(cached)
    const chrome = program('opt/chrome', '#!/bin/sh\n')
    symlinkSync(chrome, join(folder, 'bin/google-chrome'))
    expect(findChromium(env)).toBe(join(folder, 'bin/google-chrome'))
    expect(findChromium({ ...env, KEEPLIGHT_CHROMIUM: join(folder, 'opt') })).toBeUndefined()
    expect(findChromium({ ...env, KEEPLIGHT_CHROMIUM: chrome })).toBe(chrome)
    // SwiftShader is taken from beside the real program.
    write('opt/vk_swiftshader_icd.json', 1)
    expect(findSwiftshaderIcd(join(folder, 'bin/google-chrome'))).toBe(
      join(folder, 'opt/vk_swiftshader_icd.json'),
    )
  })

  test('gives children a runtime folder they can write to', () => {
    expect(runtimeFolder({ XDG_RUNTIME_DIR: folder })).toBe(folder)
    const own = runtimeFolder({ XDG_RUNTIME_DIR: join(folder, 'none') })
    expect(own).not.toBe(join(folder, 'none'))
    writeFileSync(join(own, 'probe'), '')
    rmSync(join(own, 'probe'))
  })
})
