import type { Command } from 'commander'
import { Option } from 'commander'
import type { Context } from './context.ts'
import { checkHub, checkNode, checkSharp, checkSpace, checkVariables } from './doctor/checks.ts'
import type { Finding } from './doctor/finding.ts'
import { checkGraphics } from './doctor/graphics.ts'
import { thisMachine, type Machine } from './doctor/machine.ts'
import { probeMark } from './doctor/probeChild.ts'
import { ReportedError, oneLine } from './exitCodes.ts'
import { addCommonOptions } from './settings.ts'

interface DoctorSettings {
  readonly adapter?: string
  readonly online: boolean
  readonly probe: boolean
  readonly quiet: boolean
  readonly json: boolean
}

/** Adds `keeplight doctor`. */
export function addDoctorCommand(
  program: Command,
  context: (output: Pick<DoctorSettings, 'quiet' | 'json'>) => Context,
): void {
  const command = program
    .command('doctor')
    .summary('find out what is missing on this machine')
    .description(
      'Checks what Keeplight needs of this machine, and names the command that mends what is missing. ' +
        'Ends with 0 when all is well, warnings included, and with 5 when something is missing.',
    )
    .option('--online', 'asks the model hub too; nothing else leaves the machine', false)
    .addOption(new Option('--probe').default(false).hideHelp())
  addCommonOptions(command)
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight doctor
  $ keeplight doctor --json | jq -r '.findings[] | select(.status != "ok") | .remedy'`,
    )
    .action(async (settings: DoctorSettings) => {
      const { adapter, online, probe } = settings
      const { terminal } = context(settings)
      if (probe) {
        const { probeAdapters } = await import('./doctor/probe.ts')
        process.stdout.write(`${probeMark}${JSON.stringify(await probeAdapters(adapter))}\n`)
        return
      }
      const findings = await examine(thisMachine(), { adapter, online })
      const problems = findings.filter(({ status }) => status === 'problem').length
      terminal.printJson({ ok: problems === 0, findings })
      terminal.print(describeFindings(findings))
      if (problems > 0) throw new ReportedError('device')
    })
}

/** All checks, in the order of what builds on what. None of them throws. */
export async function examine(
  machine: Machine,
  { adapter, online = false }: { readonly adapter?: string; readonly online?: boolean } = {},
): Promise<Finding[]> {
  const name = adapter ?? (machine.env.KEEPLIGHT_ADAPTER || undefined)
  return [
    checkNode(machine),
    await checkSharp(machine),
    ...(await checkGraphics(machine, name)),
    ...(await checkSpace(machine)),
    checkVariables(machine),
    ...(online ? [await checkHub(machine)] : []),
  ]
}

const marks = { ok: 'ok      ', warning: 'warning ', problem: 'problem ' } as const

/** A line for each finding, and below it what mends it. */
export function describeFindings(findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ name, status, detail, remedy }) => [
    oneLine(`${marks[status]} ${name}: ${detail}`),
    ...(remedy === undefined ? [] : [oneLine(`          → ${remedy}`)]),
  ])
  const problems = findings.filter(({ status }) => status === 'problem').length
  const end =
    problems === 0
      ? 'Keeplight can run on this machine.'
      : `${problems} ${problems === 1 ? 'problem' : 'problems'} to mend first.`
  return [...lines, end].join('\n')
}
