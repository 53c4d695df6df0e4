#!/usr/bin/env node
import { CommanderError } from 'commander'
import { errorLine, exitCodeOf, exitCodes } from './exitCodes.ts'
import { makeProgram } from './program.ts'
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
    const program = makeProgram(controller.signal, (made) => (terminal = made))
    await program.parseAsync([...argv], { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    terminal?.clear()
    const code = controller.signal.aborted ? exitCodes.interrupted : exitCodeOf(error)
    if (error instanceof CommanderError) return code // commander has printed it
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

process.exitCode = await main(process.argv.slice(2))
setTimeout(() => process.exit(), lingerMilliseconds).unref()
