import { describe, expect, it } from 'vitest'
import { assignmentsCsv, assignmentsJson, toAssignments } from '../../src/train/assignments.ts'

describe('toAssignments', () => {
  it('names the cluster, the runner-up and their probabilities', () => {
    const rows = toAssignments(
      ['a', 'b', 'c'],
      Int32Array.of(0, 2, 1),
      Float32Array.of(0.5, 0.125, 0.375, 0.25, 0, 0.75, 0.5, 0.5, 0),
      3,
      ['x', 'y', 'x'],
    )
    expect(rows).toEqual([
      {
        path: 'a',
        cluster: 0,
        probability: 0.5,
        runnerUp: 2,
        runnerUpProbability: 0.375,
        label: 'x',
      },
      {
        path: 'b',
        cluster: 2,
        probability: 0.75,
        runnerUp: 0,
        runnerUpProbability: 0.25,
        label: 'y',
      },
      {
        path: 'c',
        cluster: 1,
        probability: 0.5,
        runnerUp: 0,
        runnerUpProbability: 0.5,
        label: 'x',
      },
    ])
  })
})

const row = (path: string, label?: string) => ({
  path,
  cluster: 1,
  probability: 0.123456789,
  runnerUp: 0,
  runnerUpProbability: 1e-9,
  ...(label !== undefined && { label }),
})

describe('assignmentsCsv', () => {
  it('quotes as RFC 4180 says', () => {
    expect(
      assignmentsCsv([row('a,b.jpg'), row('say "hi".jpg'), row('two\nlines.jpg'), row('ü.jpg')]),
    ).toBe(
      'path,cluster,probability,runner_up,runner_up_probability\n' +
        '"a,b.jpg",1,0.123457,0,0\n' +
        '"say ""hi"".jpg",1,0.123457,0,0\n' +
        '"two\nlines.jpg",1,0.123457,0,0\n' +
        'ü.jpg,1,0.123457,0,0\n',
    )
  })

  it.each(['=cmd()', '+1', '-1', '@SUM(A1)', '\t=1'])('keeps %j from being a formula', (path) => {
    const [, line] = assignmentsCsv([row(path)]).split('\n')
    expect(line).toBe(`./${path},1,0.123457,0,0`)
  })

  it('has a column for labels where there are any', () => {
    expect(assignmentsCsv([row('c/a.jpg', 'c,d')])).toBe(
      'path,cluster,probability,runner_up,runner_up_probability,label\n' +
        'c/a.jpg,1,0.123457,0,0,"c,d"\n',
    )
  })
})

describe('assignmentsJson', () => {
  it('holds the same rows', () => {
    expect(JSON.parse(assignmentsJson([row('a'), row('b', 'x')]))).toEqual([
      { path: 'a', cluster: 1, probability: 0.123457, runnerUp: { cluster: 0, probability: 0 } },
      {
        path: 'b',
        label: 'x',
        cluster: 1,
        probability: 0.123457,
        runnerUp: { cluster: 0, probability: 0 },
      },
    ])
  })
})
