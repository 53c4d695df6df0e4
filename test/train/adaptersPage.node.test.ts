import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import page from '../../docs/adapters.md?raw'
import * as keeplight from '../../src/index.node.ts'
import type { ClusterMethod, Device } from '../../src/index.ts'
import { clusteringAccuracy } from '../../src/train/metrics.ts'
import { blobs } from '../support/blobs.ts'
import { hashBits } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'

interface Page {
  readonly scan: () => ClusterMethod
  readonly checkScan: (device: Device) => Promise<{ loss: number; gradient: number }>
}

/** What the page's TypeScript exports, with `keeplight` for this source. */
function runPage(): Page {
  const blocks = [...page.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code!)
  expect(blocks).toHaveLength(2)
  const compilerOptions = { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 }
  const exports = {}
  const require = (name: string): unknown => {
    expect(name).toBe('keeplight')
    return keeplight
  }
  for (const code of blocks) {
    const { outputText } = ts.transpileModule(code, { compilerOptions })
    // The second block goes on with what the first declared.
    const names = Object.keys(exports)
    new Function('require', 'exports', ...names, outputText)(
      require,
      exports,
      ...Object.values(exports),
    )
  }
  return exports as Page
}

describe('docs/adapters.md', () => {
  const device = useDevice()

  it('adds an adapter that has the loss and the gradients of f64 loops', async () => {
    const { loss, gradient } = await runPage().checkScan(device())
    expect(loss).toBeLessThan(1e-5)
    expect(gradient).toBeLessThan(1e-5)
  })

  it('clusters by it, the same for a run alone as beside others', async () => {
    const { features, labels } = blobs({ clusters: 3, each: 20, dimension: 8, seed: 4 })
    const options = { k: 3, device: device(), seed: 1, pairs: 5, noise: 0, batch: 30 }
    const training = { epochs: 1, minSteps: 100, learningRate: 0.05, method: runPage().scan() }
    const best = await keeplight.cluster(features, { ...options, ...training, restarts: 3 })
    expect(best.method).toBe('scan')
    expect(clusteringAccuracy(labels, best.assignments)).toBe(1)
    expect(Object.keys(best.trace[0]!)).toContain('consistency')
    const seed = 1 + best.kept
    const alone = await keeplight.cluster(features, { ...options, ...training, restarts: 1, seed })
    expect(hashBits(alone.head.get('0.weight')!.data)).toBe(
      hashBits(best.head.get('0.weight')!.data),
    )
  })

  it('names files that exist', () => {
    const names = [...page.matchAll(/`((?:src|examples|kernels|test)\/[\w/.]+\.ts)`/g)]
    const files = Object.keys(import.meta.glob(['../../src/**/*.ts', '../../examples/*.ts']))
    for (const [, name] of names) {
      const path = name!.startsWith('kernels/') ? `src/${name}` : name
      expect(files).toContain(`../../${path}`)
    }
    expect(names.length).toBeGreaterThan(5)
  })
})
