import { defineConfig, type UserConfig } from 'tsdown'

const shared: UserConfig = {
  format: 'esm',
  target: 'es2022',
  outExtensions: () => ({ js: '.js', dts: '.d.ts' }),
  sourcemap: true,
  // The Hungarian assignment is compiled in, so that the browser core depends on nothing.
  // Nothing else from node_modules may slip in (THIRD_PARTY_NOTICES lists what does).
  deps: { alwaysBundle: ['munkres'], onlyBundle: ['munkres'] },
  // The public types name WebGPU's, which TypeScript's DOM library does not have yet.
  banner: { dts: '/// <reference types="@webgpu/types" />' },
  report: false,
  checks: { pluginTimings: false },
}

export default defineConfig([
  // The page's build: one file that imports nothing.
  {
    ...shared,
    name: 'page',
    platform: 'neutral',
    entry: { index: 'src/index.ts' },
    dts: { sourcemap: false },
  },
  // Node's build: library, command line and decode worker share their common parts.
  {
    ...shared,
    name: 'node',
    platform: 'node',
    target: 'node20',
    entry: {
      'index.node': 'src/index.node.ts',
      cli: 'src/cli/main.ts',
      'decodeWorker.node': 'src/data/decodeWorker.node.ts',
    },
    dts: { sourcemap: false },
  },
])
