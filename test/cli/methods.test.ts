import { expect, it } from 'vitest'
import { Command } from 'commander'
import { addMethodOptions, clusterOptionsOf, settingsOf } from '../../src/cli/methods.ts'
import { addRecipeOptions, type RecipeSettings } from '../../src/cli/recipe.ts'
import type { MethodSettings } from '../../src/cli/methods.ts'
import { scpSettings } from '../../src/train/scpSettings.ts'
import { errorOf } from '../support/errorOf.ts'

const parse = (...given: string[]): RecipeSettings & MethodSettings =>
  addMethodOptions(addRecipeOptions(new Command())).parse(given, { from: 'user' }).opts()

it('trains by SCP unless told otherwise, with the preset and what is given', () => {
  expect(clusterOptionsOf(parse('--noise', '1', '--lr', '0.01'))).toEqual({
    ...{ preset: 'keeplight', noise: 1, learningRate: 0.01 },
  })
})

it('trains by TEMI with its own defaults, and what is given in their place', () => {
  const { method, ...options } = clusterOptionsOf(parse('--method', 'temi', '--pairs', '7'))
  expect(method?.name).toBe('temi')
  expect(options).toEqual({ pairs: 7, noise: 0, restarts: 1, epochs: 100, batch: 1024 })
  const rates = (...more: string[]): number => {
    const { method } = clusterOptionsOf(parse('--method', 'temi', ...more))
    return Math.max(...Array.from(method!.learningRates!(100, 512)))
  }
  expect(rates()).toBeCloseTo(2e-4)
  expect(rates('--lr', '0.01')).toBeCloseTo(2e-2)
})

it.each([
  [['--heads', '4'], /--heads is an option of --method temi/],
  [['--method', 'temi', '--alpha', '2'], /--method temi has no alpha: that is SCP’s/],
  [['--method', 'temi', '--preset', 'paper'], /has no preset/],
])('refuses an option of the other method: %j', (given, message) => {
  expect(errorOf(() => clusterOptionsOf(parse(...given))).message).toMatch(message)
})

it('states the settings that the method has', () => {
  const settings = { ...scpSettings('keeplight', 3), pairs: 50 }
  expect(settingsOf({ method: 'scp', settings }, parse())).toEqual({ method: 'scp', ...settings })
  const temi = settingsOf({ method: 'temi', settings }, parse('--method', 'temi', '--heads', '4'))
  expect(temi).toMatchObject({ method: 'temi', heads: 4, pairs: 50 })
  expect(temi).not.toHaveProperty('alpha')
})
