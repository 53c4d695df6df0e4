import { Command } from 'commander'
import { addDoctorCommand } from './doctor.ts'
import { Terminal } from './terminal.ts'

/** The command line with the doctor alone: it loads neither sharp nor Dawn before it checks them. */
export function makeDoctorProgram(
  signal: AbortSignal,
  onTerminal: (terminal: Terminal) => void,
): Command {
  const program = new Command('keeplight').exitOverride()
  addDoctorCommand(program, (output) => {
    const terminal = new Terminal(output)
    onTerminal(terminal)
    return { terminal, signal }
  })
  return program
}
