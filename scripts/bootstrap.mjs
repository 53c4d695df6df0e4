/**
 * Brings what the project needs on a bare Debian or Ubuntu machine with Node and apt, then runs a
 * command:
 *
 *   node scripts/bootstrap.mjs --for demo|golden|test [--dry-run] [--verbose] [-- command …]
 *
 * Plain JavaScript that imports only Node, because it runs before `npm ci`. It is silent when
 * nothing is missing. Exit code 1: something is missing and cannot be brought; the message holds the
 * command that does.
 */
const usage =
  'usage: node scripts/bootstrap.mjs --for demo|golden|test [--dry-run] [--verbose] [-- command …]'

/** @param {string[]} args */
async function main(args) {
  const split = args.includes('--') ? args.indexOf('--') : args.length
  const options = args.slice(0, split)
  const command = args.slice(split + 1)
  const goal = options[options.indexOf('--for') + 1]
  const known = ['--for', goal, '--dry-run', '--verbose']
  if (
    !options.includes('--for') ||
    !['demo', 'golden', 'test'].includes(goal) ||
    options.some((option) => !known.includes(option))
  ) {
    console.error(usage)
    return 2
  }

  // Imported after the check, so that an old Node reads a sentence and not a syntax error.
  const { nodeProblem } = await import('./bootstrap/node.mjs')
  const problem = nodeProblem(process.versions.node)
  if (problem) {
    console.error(`setup: ${problem}`)
    return 1
  }
  const { createMachine } = await import('./bootstrap/machine.mjs')
  const { SetupError, bootstrap } = await import('./bootstrap/steps.mjs')
  const machine = createMachine({
    dryRun: options.includes('--dry-run'),
    verbose: options.includes('--verbose'),
  })
  try {
    await bootstrap(/** @type {import('./bootstrap/steps.mjs').Goal} */ (goal), machine)
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`setup: ${error.message}`)
    return 1
  }
  return command.length === 0 ? 0 : machine.execute(command)
}

process.exitCode = await main(process.argv.slice(2))
