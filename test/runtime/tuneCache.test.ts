import { afterEach, describe, expect, it } from 'vitest'
import type { Device } from '../../src/runtime/device.ts'
import { indexedDbStore, loadTuning, saveTuning, tuningKey } from '../../src/runtime/tuneCache.ts'
import type { TuneStore } from '../../src/runtime/tuneCache.ts'
import type { TunedProblem } from '../../src/runtime/tune.ts'
import { useDevice } from '../support/device.ts'

const device = useDevice()
afterEach(() => device().choices.clear())

function memoryStore(): TuneStore {
  const texts = new Map<string, string>()
  return {
    load: (name) => Promise.resolve(texts.get(name)),
    save(name, text) {
      texts.set(name, text)
      return Promise.resolve()
    },
  }
}

const store = typeof indexedDB === 'undefined' ? memoryStore() : indexedDbStore('keeplight-test')

const result = (key: string, best: string): TunedProblem => ({
  ...{ family: 'matmul', key, rule: 'tile64', best },
  ...{ ruleSeconds: 2, bestSeconds: 1, discarded: [] },
})

/** What was said about damage, last. */
let damage: string | undefined

const loadText = async (text: string): Promise<[string, string][]> => {
  await store.save(await tuningKey(device()), text)
  damage = undefined
  const count = await loadTuning(device(), store, (reason) => (damage = reason))
  const entries = [...device().choices.entries()]
  expect(entries).toHaveLength(count)
  return entries
}

describe('tuned choices', () => {
  it('come back on the same adapter, where they differ from the rule', async () => {
    await saveTuning(device(), [result('a', 'tile32'), result('b', 'tile64')], store)
    expect(await loadTuning(device(), store)).toBe(1)
    expect([...device().choices.entries()]).toEqual([['matmul/a', 'tile32']])
  })

  it('are of no use to another adapter, driver or text of kernels', async () => {
    const key = await tuningKey(device())
    expect(key).toMatch(/^[0-9a-f]{64}$/)
    expect(await tuningKey(device())).toBe(key)
    for (const change of [
      { description: 'another driver' },
      { vendor: 'x' },
      { subgroupSize: 7 },
    ]) {
      const adapter = { ...device().adapter, ...change }
      const { features, limits, kernelVariant, gpu } = device()
      const other = { features, limits, kernelVariant, gpu, adapter } as Device
      expect(await tuningKey(other)).not.toBe(key)
    }
  })

  it('are passed over when their store is damaged, foreign or hostile', async () => {
    const key = await tuningKey(device())
    const file = { format: 'keeplight-tuning', version: 1, key, adapter: 'x' }
    const choices = [['matmul', 'a', 'tile32']]
    const good = JSON.stringify({ ...file, choices })
    expect(await loadText(good)).toEqual([['matmul/a', 'tile32']])
    expect(damage).toBeUndefined()
    device().choices.clear()
    const hostile: unknown[] = [
      null,
      7,
      [],
      { choices },
      { ...file, choices: 'matmul' },
      { ...file, choices: { length: 1, 0: choices[0] } },
      { ...file, version: 2, choices },
      { ...file, format: 'other', choices },
      { ...file, key: key.replace(/./g, '0'), choices },
      { ...file, choices: [['unknown', 'a', 'tile32']] },
      { ...file, choices: [['matmul', 'a'], ['matmul', 'a', 3], 'matmul', null, [[], [], []]] },
    ]
    const texts = ['', '{', good.slice(0, -5), `${good} `.padEnd(2 ** 20 + 1), 'NaN']
    for (const text of [...texts, ...hostile.map((value) => JSON.stringify(value))]) {
      expect(await loadText(text), text.slice(0, 100)).toEqual([])
      expect(damage, text.slice(0, 100)).toMatch(/^(it|its|1 of its \d|5 of its 5) /)
    }
    // One sound choice among damaged ones is taken.
    const mixed = JSON.stringify({ ...file, choices: [['matmul', 'a'], ...choices] })
    expect(await loadText(mixed)).toEqual([['matmul/a', 'tile32']])
    expect(damage).toBe('1 of its 2 choices are malformed')
  })

  it('of one family are saved beside what was saved for the others', async () => {
    const attention = { ...result('b', 'tile'), family: 'attention' }
    await saveTuning(device(), [result('a', 'tile32'), attention], store)
    await saveTuning(device(), [{ ...attention, key: 'c' }], store, ['attention'])
    await loadTuning(device(), store)
    const kept = [
      ['matmul/a', 'tile32'],
      ['attention/c', 'tile'],
    ]
    expect([...device().choices.entries()]).toEqual(kept)
  })

  it('are none where the store fails', async () => {
    const failing = { ...memoryStore(), load: () => Promise.reject(new Error('no access')) }
    const reasons: string[] = []
    expect(await loadTuning(device(), failing, (reason) => reasons.push(reason))).toBe(0)
    expect(reasons).toEqual(["it can't be read: Error: no access"])
  })
})
