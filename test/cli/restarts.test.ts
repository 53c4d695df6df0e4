import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { addCheckpointOptions, type CheckpointSettings } from '../../src/cli/checkpointFile.ts'
import { addRecipeOptions, scpOptionsOf, type RecipeSettings } from '../../src/cli/recipe.ts'
import { correlationOf, describeRestarts, scoreRestarts } from '../../src/cli/restarts.ts'

describe('the figures of all restarts', () => {
  const restarts = [0, 1, 2, 3].map((seed) => ({ seed, inertia: 0.1 * (seed + 1), loss: -seed }))
  const labels = Int32Array.from([0, 0, 0, 0, 1, 1, 1, 1])
  /** Accuracies 1, 7/8, 6/8, 5/8: the lower the inertia the better. */
  const runs = [0, 1, 2, 3].map((wrong) =>
    labels.map((label, i) => (i < wrong ? 1 - label : label)),
  )

  it('are mean, deviation and best, and the correlation of inertia with ACC', () => {
    const { accuracy, inertia, loss, correlation } = scoreRestarts({ restarts, runs }, labels)
    expect(accuracy).toMatchObject({ mean: 0.8125, best: 1 })
    expect(accuracy!.deviation).toBeCloseTo(Math.sqrt(5 / 3) / 8, 12)
    expect(inertia.mean).toBeCloseTo(0.25, 12)
    expect([inertia.best, loss.best]).toEqual([0.1, -3])
    expect(correlation).toBeCloseTo(-1, 12)
    expect(correlationOf([1, 2, 3, 4], [2, 1, 4, 3])).toBeCloseTo(0.6, 12)
    expect(correlationOf([1, 1, 1], [2, 1, 4])).toBeUndefined()
  })

  it('leave out runs that diverged, and say nothing of one run', () => {
    const failed = { seed: 9, inertia: NaN, loss: NaN, diverged: { step: 3, terms: [] } }
    const all = { restarts: [...restarts, failed], runs: [...runs, new Int32Array()] }
    const scores = scoreRestarts(all, labels)
    expect(scores.inertia.mean).toBeCloseTo(0.25, 12)
    expect(describeRestarts(scores)).toBe(
      '5 runs: inertia 0.2500 ± 0.1291, best 0.1000; ACC 81.3 ± 16.1 %, best 100.0 % (chosen by ' +
        'inertia, not by it); correlation of inertia with ACC -1.00; 1 diverged and left out',
    )
    const one = { restarts: restarts.slice(0, 1), runs: runs.slice(0, 1) }
    expect(describeRestarts(scoreRestarts(one, undefined))).toBe('')
  })
})

describe('options of the training', () => {
  const parse = (...args: string[]): RecipeSettings & CheckpointSettings =>
    addCheckpointOptions(addRecipeOptions(new Command().exitOverride()))
      .configureOutput({ writeErr: () => undefined })
      .parse(args, { from: 'user' })
      .opts()

  it('become those of cluster(), and what is not given is left to the preset', () => {
    expect(scpOptionsOf(parse())).toEqual({})
    const given =
      '--alpha 3 --ce-weight 0 --confidence-weight 2 --ce-one-sided --stop-gradient --entropy-mean ' +
      '--hidden 64,32 --activation gelu --norm layer --norm-views-apart --dropout 0.1 ' +
      '--init truncated-normal --lr 0.01 --lr-end 0.001 --beta1 0.8 --beta2 0.99 --keep-last ' +
      '--no-normalize --restarts 50'
    expect(scpOptionsOf(parse(...given.split(' ')))).toEqual({
      ...{ alpha: 3, crossEntropyWeight: 0, confidenceWeight: 2, restarts: 50 },
      ...{ symmetric: false, stopGradient: true, entropyOver: 'mean', normViews: 'apart' },
      ...{ hidden: [64, 32], activation: 'gelu', norm: 'layer', dropout: 0.1 },
      ...{ initialization: 'truncated-normal', learningRate: 0.01, finalLearningRate: 0.001 },
      ...{ beta1: 0.8, beta2: 0.99, dropLast: false, normalize: false },
    })
  })

  it('take checkpoints by steps or by seconds', () => {
    expect(parse().checkpointEvery).toEqual({ seconds: 60 })
    expect(parse('--checkpoint-every', '500').checkpointEvery).toEqual({ steps: 500 })
    expect(parse('--checkpoint-every', '5s').checkpointEvery).toEqual({ seconds: 5 })
    expect(() => parse('--checkpoint-every', '5m')).toThrow(/Expected steps, as 500/)
    expect(() => parse('--hidden', '5,x')).toThrow(/whole numbers above 0/)
  })
})
