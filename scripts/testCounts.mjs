/**
 * @typedef {object} Report what Vitest's JSON reporter writes, as far as it is read here
 * @property {number} numPassedTests
 * @property {number} numFailedTests
 * @property {{ status: string, assertionResults: { status: string }[] }[]} testResults
 */

/**
 * Counts a Vitest run. A failure that belongs to no test (a file that cannot be imported, a missing
 * adapter, an unhandled rejection, nothing to run) counts as one failed test, so that a run that
 * fails never reads `0 failed`.
 * @param {Report | undefined} report
 * @param {number} code Vitest's exit code
 * @returns {{ passed: number, failed: number, problem?: string }}
 */
export function countResults(report, code) {
  if (!report) return { passed: 0, failed: 1, problem: `it ended with code ${code} and no report` }
  const passed = report.numPassedTests
  const brokenFiles = report.testResults.filter(
    ({ status, assertionResults }) =>
      status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  ).length
  const failed = report.numFailedTests + brokenFiles
  if (passed + failed === 0) return { passed, failed: 1, problem: 'no test was run' }
  if (code !== 0 && failed === 0) {
    return { passed, failed: 1, problem: `it ended with code ${code} though no test failed` }
  }
  return { passed, failed }
}
