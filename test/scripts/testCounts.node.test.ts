import { describe, expect, test } from 'vitest'
import { countResults } from '../../scripts/testCounts.mjs'

describe('the count at the end of a test run', () => {
  const file = (status: string, ...tests: string[]) => ({
    status,
    assertionResults: tests.map((each) => ({ status: each })),
  })
  const report = (
    numPassedTests: number,
    numFailedTests: number,
    ...testResults: ReturnType<typeof file>[]
  ) => ({
    numPassedTests,
    numFailedTests,
    testResults,
  })

  test.each([
    ['passes', report(2, 0, file('passed', 'passed', 'passed')), 0, 2, 0],
    ['a failed test', report(1, 1, file('failed', 'passed', 'failed')), 1, 1, 1],
    [
      'a file that cannot be imported',
      report(1, 0, file('passed', 'passed'), file('failed')),
      1,
      1,
      1,
    ],
    ['an error outside of tests', report(3, 0, file('passed', 'passed')), 1, 3, 1],
    ['nothing to run', report(0, 0), 1, 0, 1],
    ['nothing to run, taken for success', report(0, 0), 0, 0, 1],
    ['no report', undefined, 1, 0, 1],
  ])('counts %s', (_, result, code, passed, failed) => {
    expect(countResults(result, code)).toMatchObject({ passed, failed })
  })
})
