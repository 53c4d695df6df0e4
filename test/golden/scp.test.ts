import { expect, it } from 'vitest'
import type { HeadWeights } from '../../src/model/mlpHead.ts'
import { parseSafetensors, type SafetensorsFile } from '../../src/model/safetensors.ts'
import { record } from '../../src/runtime/plan.ts'
import { scpLoss } from '../../src/runtime/ops/scpLoss.ts'
import { gatherRows } from '../../src/runtime/ops/gatherRows.ts'
import { backward } from '../../src/runtime/tape.ts'
import { scope } from '../../src/runtime/tensor.ts'
import { cosineSchedule } from '../../src/train/schedule.ts'
import { ScpAdapter } from '../../src/train/scpAdapter.ts'
import { trainingStep, TrainingState } from '../../src/train/trainingState.ts'
import { expectClose } from '../support/compare.ts'
import { useDevice } from '../support/device.ts'
import { describeGolden, readGolden } from '../support/golden.ts'

/** Weights whose names start with `prefix/`, running statistics included. */
function weightsOf(file: SafetensorsFile, prefix: string): HeadWeights {
  const weights = new Map<string, { shape: readonly number[]; data: Float32Array }>()
  for (const [name, { dtype, shape }] of file.tensors) {
    if (!name.startsWith(`${prefix}/`) || dtype !== 'F32') continue
    weights.set(name.slice(prefix.length + 1), { shape, data: file.float32(name) })
  }
  return weights
}

function expectWithin(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  absolute: number,
): void {
  let worst = 0
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i]! - expected[i]!)
    if (!(difference <= worst)) worst = difference
  }
  expect(worst, `${name}: largest |Δ|`).toBeLessThanOrEqual(absolute)
}

describeGolden('SCP training runs', () => {
  const device = useDevice()

  it.each(['scp-bn', 'scp-plain', 'scp-k20'])('%s', async (name) => {
    const file = parseSafetensors(await readGolden(`${name}.safetensors`))
    const setting = (key: string): number => Number(file.metadata.get(key))
    const [n, d, k, hidden] = ['n', 'd', 'k', 'hidden'].map(setting) as [
      number,
      number,
      number,
      number,
    ]
    const batch = setting('batch')
    const perEpoch = Math.floor(n / batch)
    const steps = setting('epochs') * perEpoch
    const weights = { crossEntropy: 1, confidence: 1, entropy: setting('alpha') }
    const widths = [d, hidden, hidden, hidden, hidden, k]
    const norm = file.metadata.get('batch_norm') === 'True' ? 'batch' : 'none'
    const adapter = new ScpAdapter(device(), { widths, norm }, weights)
    const { head } = adapter
    head.write(weightsOf(file, 'init'))
    const state = new TrainingState(adapter, cosineSchedule(steps, setting('lr')))

    const store = new Float32Array(2 * n * d)
    store.set(file.float32('features_a'))
    store.set(file.float32('features_b'), n * d)
    const features = device().tensor(store, [2 * n, d])
    const order = file.int32('order')
    const indexOf = (step: number): Uint32Array<ArrayBuffer> => {
      const start = Math.floor(step / perEpoch) * n + (step % perEpoch) * batch
      return Uint32Array.from({ length: 2 * batch }, (_, i) => {
        return order[start + (i % batch)]! + (i < batch ? 0 : n)
      })
    }
    const index = device().tensor(indexOf(0), [2 * batch])

    // First-step gradients by name. Running statistics move, so they are put back.
    scope(() => {
      const logits = head.forward(gatherRows(features, index), true)
      backward(scpLoss(logits, weights).total, head.parameters.list())
    })
    for (const [parameter, gradient] of await head.parameters.read('gradients')) {
      expectClose(parameter, gradient, file.float32(`step0_grad/${parameter}`), 1e-4)
    }
    head.write(weightsOf(file, 'init'))

    const plan = await record(device(), { index }, (inputs) => {
      scope(() => {
        const rows = gatherRows(features, inputs.index).view([1, 2 * batch, d])
        const images = inputs.index.view([1, 2 * batch])
        trainingStep(adapter, state, { features: rows, images, step: state.step })
      })
    })
    const compare = async (prefix: string): Promise<void> => {
      const actual = await head.read()
      for (const [parameter, { data }] of weightsOf(file, prefix)) {
        expectWithin(`${prefix}/${parameter}`, actual.get(parameter)!.data, data, 2e-5)
      }
    }
    for (let step = 0; step < steps; step++) {
      plan.run({ index: indexOf(step) })
      if (step === 0) await compare('after1')
      if (step === 9) await compare('after10')
    }
    await compare('final')

    const trace = file.float32('trace')
    const rows = await state.readTrace(0, steps)
    expect(rows).toHaveLength(steps)
    rows.forEach((row, step) => {
      const [total, ce, con, ent, lr] = trace.subarray(step * 5, step * 5 + 5)
      expect(row.total, `total at step ${step}`).toBeCloseTo(total!, 4)
      expect(row.crossEntropy, `cross-entropy at step ${step}`).toBeCloseTo(ce!, 4)
      expect(row.confidence, `confidence at step ${step}`).toBeCloseTo(con!, 4)
      expect(row.negativeEntropy, `negative entropy at step ${step}`).toBeCloseTo(ent!, 4)
      expect(row.learningRate, `learning rate at step ${step}`).toBeCloseTo(lr!, 8)
    })

    const logits = head.forward(features.rows(0, n), false)
    expectClose('final logits', await logits.read(), file.float32('final_logits_a'), 1e-4)
    plan.dispose()
    for (const tensor of [logits, features, index]) tensor.dispose()
    state.dispose()
    adapter.dispose()
  })
})
