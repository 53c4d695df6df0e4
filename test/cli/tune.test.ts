import { expect, it } from 'vitest'
import { tuneTable } from '../../src/cli/tune.ts'

it('shows what the rule names beside what is fastest', () => {
  const table = tuneTable([
    {
      ...{ family: 'matmul', key: 'NT 64', rule: 'tile64', ruleSeconds: 3e-4 },
      ...{ best: 'tile32.split2', bestSeconds: 2e-4, discarded: [] },
    },
    {
      ...{ family: 'attention', key: 'd64', rule: 'tile', ruleSeconds: 1e-5 },
      ...{ best: 'tile', bestSeconds: 1e-5, discarded: [] },
    },
  ])
  expect(table.split('\n')).toEqual([
    'problem        by rule     µs  fastest           µs   gain',
    'matmul NT 64   tile64   300.0  tile32.split2  200.0  1.50×',
    'attention d64  tile      10.0  tile            10.0  1.00×',
  ])
})
