#!/usr/bin/env node
import { CommanderError } from 'commander'
import { errorLine, exitCodeOf, exitCodes, ReportedError } from './exitCodes.ts'
import { makeDoctorProgram } from './doctorProgram.ts'
import type { Terminal } from './terminal.ts'

/** The drivers' threads end within this time after the last line, or are left behind. */
const lingerMilliseconds = 1_500

async function main(argv: readonly string[]): Promise<number> {
  const controller = new AbortController()
  let terminal: Terminal | undefined
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(exitCodes.interrupted)
    controller.abort()
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  // A reader that went away, as `head` does, is no failure of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
  try {
    const makeProgram = await loadProgram(argv)
    const program = makeProgram(controller.signal, (made) => (terminal = made))
    await program.parseAsync([...argv], { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    terminal?.clear()
    const code = controller.signal.aborted ? exitCodes.interrupted : exitCodeOf(error)
    // What commander and the doctor have to say, they have printed.
    if (error instanceof CommanderError || error instanceof ReportedError) return code
    if (code === exitCodes.interrupted) {
      process.stderr.write('keeplight: interrupted; run it again to go on with what is cached\n')
      return code
    }
    process.stderr.write(`${errorLine(error)}\n`)
    if (process.env.KEEPLIGHT_DEBUG && error instanceof Error) {
      process.stderr.write(`${error.stack ?? ''}\n`)
    }
    return code
  }
}

/** The command line; where a package of it can't be loaded, the doctor alone, which says what to do. */
async function loadProgram(argv: readonly string[]): Promise<typeof makeDoctorProgram> {
  try {
    return (await import('./program.ts')).makeProgram
  } catch (error) {
    if (argv[0] !== 'doctor') {
      process.stderr.write(
        "keeplight: a package can't be loaded; keeplight doctor says what to do\n",
      )
      throw error
    }
    return makeDoctorProgram
  }
}

process.exitCode = await main(process.argv.slice(2))
setTimeout(() => process.exit(), lingerMilliseconds).unref()
