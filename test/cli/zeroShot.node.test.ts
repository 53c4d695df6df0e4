import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import {
  CIFAR_TEMPLATES,
  createDevice,
  loadModel,
  loadTextModel,
  zeroShot,
} from '../../src/index.node.ts'
import { describeShared, readShared } from '../support/golden.ts'
import { smallClip } from '../support/smallClip.ts'
import { drawFolder } from './drawFolder.ts'
import { type Finished, ensureBuilt, startCli } from './runCli.ts'

describeShared('keeplight zero-shot', () => {
  let folder: string
  let pictures: string
  let model: string
  let drawn: readonly string[]

  beforeAll(async () => {
    ensureBuilt()
    folder = await mkdtemp(join(tmpdir(), 'keeplight-zero-shot-'))
    pictures = join(folder, 'pictures')
    drawn = await drawFolder(pictures, 3, 4)
    model = join(folder, 'clip')
    await mkdir(model)
    await writeFile(join(model, 'model.safetensors'), smallClip())
    const merges = await readShared('tokenizer/bpe_simple_vocab_16e6.txt.gz')
    await writeFile(join(model, 'bpe_simple_vocab_16e6.txt.gz'), merges)
  })
  afterAll(() => rm(folder, { recursive: true }))

  const run = (...args: string[]): Promise<Finished> => {
    return startCli(join(folder, 'cache'), ['zero-shot', pictures, ...args]).finished
  }

  it('names the class that the library names, and how many it got right', async () => {
    const out = join(folder, 'all.csv')
    const options = ['--templates', 'cifar', '--out', out, '--json']
    const { code, stdout, errors } = await run('--model', model, ...options)
    expect([code, errors]).toEqual([0, []])

    const device = await createDevice({ adapter: 'lavapipe' })
    const names = [...new Set(drawn.map((path) => path.split('/')[0]!))]
    const { labels, probabilities } = await zeroShot(
      await loadModel(model, { device }),
      await loadTextModel(model, { device }),
      drawn.map((path) => join(pictures, path)),
      names.map((name) => name.replaceAll('_', ' ')),
      { templates: CIFAR_TEMPLATES },
    )
    device.close()
    const rows = (await readFile(out, 'utf8')).trimEnd().split('\n')
    expect(rows[0]).toBe('path,class,probability,runner_up,runner_up_probability,label')
    const right = drawn.filter((path, i) => {
      const [name, chosen, probability, , , label] = rows[i + 1]!.split(',')
      expect([name, label]).toEqual([path, path.split('/')[0]])
      expect(chosen).toBe(names[labels[i]!]!.replaceAll('_', ' '))
      const expected = probabilities[i * names.length + labels[i]!]!
      expect(Math.abs(Number(probability) - expected)).toBeLessThan(1e-3)
      return names[labels[i]!] === label
    })
    const summary = JSON.parse(stdout) as { accuracy: number; templates: number }
    expect(summary.templates).toBe(18)
    expect(summary.accuracy).toBeCloseTo(right.length / drawn.length, 9)
  })

  it('takes the names of classes and prompts from files, and embeds nothing again', async () => {
    const names = join(folder, 'names.txt')
    const prompts = join(folder, 'prompts.txt')
    await writeFile(names, 'a hill\na town\n')
    await writeFile(prompts, 'a drawing of {}.\n')
    const out = join(folder, 'two.csv')
    const given = ['--classes', names, '--templates', prompts, '--out', out]
    const { code, stdout, errors } = await run('--model', model, ...given)
    expect([code, errors]).toEqual([0, []])
    expect(stdout).toMatch(/^a hill +\d+\na town +\d+\npredictions: /)
    const rows = (await readFile(out, 'utf8')).trimEnd().split('\n').slice(1)
    expect(rows).toHaveLength(12)
    for (const row of rows) expect(['a hill', 'a town']).toContain(row.split(',')[1])
  })

  it('refuses a model without texts, one class, and prompts without a place for the name', async () => {
    const tiny = await run('--classes', 'cat,dog')
    expect(tiny.code).not.toBe(0)
    expect(tiny.errors.join()).toMatch(/no text tower/)
    const one = await run('--model', model, '--classes', 'cat,')
    expect(one.code).toBe(2)
    expect(one.errors.join()).toMatch(/--classes cat,: expected two names or more/)
    const prompts = join(folder, 'bad.txt')
    await writeFile(prompts, 'a drawing\n')
    const bad = await run('--model', model, '--classes', 'cat,dog', '--templates', prompts)
    expect(bad.errors.join()).toMatch(/the template "a drawing" has no \{\}/)
  })
})
