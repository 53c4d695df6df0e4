import { expect, it } from 'vitest'
import { openDevice } from '../support/device.ts'
import { fuzz, kinds } from './fuzz.ts'

it('gives typed errors or right results, whatever is called', async () => {
  expect(await fuzz(openDevice, { cases: 120, seed: 1 })).toEqual([])
})

it('allows a gradient the rounding of the terms that cancel in it', async () => {
  for (const [seed, from] of [
    [7007, 289],
    [7008, 521],
  ] as const) {
    expect(await fuzz(openDevice, { cases: 1, seed, from })).toEqual([])
  }
})

it('refuses tensors of another device before the GPU sees them', async () => {
  expect(await fuzz(openDevice, { cases: 20, seed: 2, kinds: ['otherDevice'] })).toEqual([])
})

it('has cases of every kind', () => {
  expect(Object.keys(kinds)).toHaveLength(11)
})
