import { expect, it } from 'vitest'
import { Draws } from './draws.ts'
import { fileKinds, fuzzFiles } from './files.ts'
import { mutate } from './mutate.ts'
import { samples } from './samples.ts'

it('mutated files are refused by a typed error or read correctly', async () => {
  const { failures, read, refused } = await fuzzFiles({ count: 2000, seed: 3 })
  expect(failures).toEqual([])
  // Of each kind some mutants are sound and some are not, or the mutations would test nothing.
  expect(Object.keys(refused).sort()).toEqual([...fileKinds].sort())
  expect(Object.keys(read).sort()).toEqual([...fileKinds].sort())
})

it('a case is the same in every run', () => {
  const [a, b] = [samples[0]!.bytes, samples[4]!.bytes]
  const draw = (index: number) => mutate(a, new Draws(3, index), b)
  expect(draw(17)).toEqual(draw(17))
  const different = Array.from({ length: 50 }, (_, i) => Buffer.from(draw(i)).toString('latin1'))
  expect(new Set(different).size).toBeGreaterThan(45)
})
