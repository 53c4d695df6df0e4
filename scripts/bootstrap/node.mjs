/**
 * Why this Node cannot build the project; undefined when it can. The published package runs on
 * every Node 20; the bundler (Vite, tsdown) that builds and tests it needs a little more.
 * @param {string} version such as `20.19.0`
 * @returns {string | undefined}
 */
export function nodeProblem(version) {
  const [major, minor] = version.split('.').map(Number)
  const fits = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22
  if (fits) return undefined
  return (
    `Node ${version} cannot build Keeplight: expected 20.19 or newer of Node 20, or 22.12 or ` +
    'newer; install one from https://nodejs.org/en/download'
  )
}
