import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig } from 'vitest/config'
import {
  CHROMIUM_FLAGS,
  adapterEnvironment,
  findChromium,
  findLavapipeIcd,
  findSwiftshaderIcd,
} from './scripts/adapters.mjs'

const root = import.meta.dirname
const shared = resolve(root, process.env.KEEPLIGHT_SHARED ?? '../shared')
const golden = resolve(root, process.env.KEEPLIGHT_GOLDEN ?? `${shared}/golden`)
const chromium = findChromium()

// A missing driver leaves a path that names what is missing; the project's global setup then ends
// the run with the command that installs it.
const lavapipe = findLavapipeIcd() ?? 'missing-lavapipe'
const swiftshader = findSwiftshaderIcd(chromium) ?? 'missing-swiftshader'

/** What every test may read from `import.meta.env`; an absent folder is the empty string. */
const testEnvironment = (adapter: 'lavapipe' | 'swiftshader') => ({
  VITE_KEEPLIGHT_ADAPTER: adapter,
  VITE_KEEPLIGHT_ROOT: root,
  VITE_KEEPLIGHT_SHARED: existsSync(shared) ? shared : '',
  VITE_KEEPLIGHT_GOLDEN: existsSync(golden) ? golden : '',
  VITE_KEEPLIGHT_CHROMIUM: chromium ?? '',
  VITE_CI: process.env.CI ? 'true' : '',
  VITE_KEEPLIGHT_FULL: process.env.KEEPLIGHT_FULL ?? '',
})

// Tests of Node-only parts. Everything else under test/ must pass in Node and in a page alike.
const NODE_TESTS = [
  'test/**/*.node.test.ts',
  'test/{cli,scripts,web}/**/*.test.ts',
  'test/architecture.test.ts',
]
/** Of these, the ones that measure time, start whole programs or load full-size models. */
const ALONE = [
  'test/cli/**/*.node.test.ts',
  'test/web/**/*.test.ts',
  'test/runtime/**/*.node.test.ts',
  'test/golden/**/*.node.test.ts',
  'test/data/{decode,hostileArchives,hostileImages,openCollection}.node.test.ts',
  'test/model/{httpSource,hub}.node.test.ts',
  'test/package.node.test.ts',
]
const SHARED_TESTS = ['test/**/*.test.ts']
const GPU_TESTS = ['test/{kernels,runtime,model,train,golden,catalogue,fuzz}/**/*.test.ts']

// On SwiftShader test/web compares this very run between Node and the page.
const TWICE = 'test/train/determinism.test.ts'
// Whole trainings, which the page runs on the same driver.
const PAGE_TRAINS = [TWICE, 'test/train/{training,cluster,recovery}.test.ts']

// A software adapter compiles and runs big kernels slowly.
const timeouts = { testTimeout: 120_000, hookTimeout: 120_000, teardownTimeout: 30_000 }

/** Dawn in a test gets this driver, whatever adapter the user's own environment names. */
const dawnEnvironment = (adapter: 'lavapipe' | 'swiftshader') => ({
  ...adapterEnvironment(adapter === 'lavapipe' ? lavapipe : swiftshader),
  ...testEnvironment(adapter),
  KEEPLIGHT_ADAPTER: '',
})

/** Dawn crashes in worker threads. */
const onDawn = { pool: 'forks' } as const
/** Compiling takes one core and most of the time, so two files at once take little more than half. */
const side = { ...onDawn, maxWorkers: 2 } as const
/** Tests that measure time, or run whole programs, have the machine for themselves. */
const alone = { ...onDawn, maxWorkers: 1, fileParallelism: false } as const

const vite = {
  server: { fs: { allow: [root, shared, golden] } },
  // Found while tests run, it would reload the page under them.
  optimizeDeps: { include: ['munkres'] },
}

export default defineConfig({
  ...vite,
  test: {
    ...timeouts,
    reporters: ['default', './test/support/leftOutReporter.ts'],
    projects: [
      {
        ...vite,
        test: {
          ...timeouts,
          ...side,
          name: 'host',
          include: NODE_TESTS,
          exclude: ALONE,
          env: dawnEnvironment('lavapipe'),
          globalSetup: ['test/support/requireLavapipe.ts', 'test/support/requireChromium.ts'],
          sequence: { groupOrder: 4 },
        },
      },
      {
        ...vite,
        test: {
          ...timeouts,
          ...alone,
          name: 'node',
          include: ALONE,
          env: dawnEnvironment('lavapipe'),
          globalSetup: ['test/support/requireLavapipe.ts', 'test/support/requireChromium.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        ...vite,
        test: {
          ...timeouts,
          ...side,
          name: 'lavapipe',
          include: SHARED_TESTS,
          exclude: NODE_TESTS,
          env: dawnEnvironment('lavapipe'),
          globalSetup: ['test/support/requireLavapipe.ts'],
          sequence: { groupOrder: 1 },
        },
      },
      {
        ...vite,
        test: {
          ...timeouts,
          ...side,
          name: 'swiftshader',
          include: GPU_TESTS,
          exclude: [...NODE_TESTS, ...PAGE_TRAINS],
          env: dawnEnvironment('swiftshader'),
          globalSetup: ['test/support/requireSwiftshader.ts'],
          sequence: { groupOrder: 2 },
        },
      },
      {
        ...vite,
        test: {
          ...timeouts,
          name: 'page',
          include: SHARED_TESTS,
          // What these find on SwiftShader in Node holds here: test/web compares the bits of every op.
          exclude: [
            ...NODE_TESTS,
            TWICE,
            'test/{catalogue,kernels,fuzz}/**',
            'test/runtime/ops/**',
          ],
          env: testEnvironment('swiftshader'),
          globalSetup: ['test/support/requireChromium.ts'],
          fileParallelism: false,
          sequence: { groupOrder: 3 },
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: { executablePath: chromium, args: [...CHROMIUM_FLAGS] },
            }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
    ],
  },
})
