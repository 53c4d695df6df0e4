import { Command } from 'commander'
import { version } from '../../package.json'
import { addCheckCommand } from './check.ts'
import { addClusterCommand } from './cluster.ts'
import type { Context } from './context.ts'
import { addDemoCommand } from './demo.ts'
import { addDoctorCommand } from './doctor.ts'
import { addEmbedCommand } from './embed.ts'
import { addEvalCommand } from './eval.ts'
import { addInfoCommand } from './info.ts'
import { addKmeansCommand } from './kmeans.ts'
import { addModelsCommand } from './models.ts'
import { oneLine } from './exitCodes.ts'
import { addMergeCommand } from './merge.ts'
import { addOrganizeCommand } from './organize.ts'
import { addPredictCommand } from './predict.ts'
import { addProbeCommand } from './probe.ts'
import { addSearchCommand } from './search.ts'
import { addBenchPaperCommand } from './studies/benchPaper.ts'
import { addStudyCommand } from './studies/study.ts'
import { addTsneCommand } from './tsne.ts'
import { addTuneCommand } from './tune.ts'
import { addZeroShotCommand } from './zeroShot.ts'
import { Terminal } from './terminal.ts'
import type { TerminalOptions } from './terminal.ts'

/** Builds the command line; `onTerminal` hears of the command's terminal before it runs. */
export function makeProgram(
  signal: AbortSignal,
  onTerminal: (terminal: Terminal) => void,
): Command {
  const context = (output: TerminalOptions): Context => {
    const terminal = new Terminal(output)
    onTerminal(terminal)
    return { terminal, signal }
  }
  const program = new Command('keeplight')
    .description(
      'Clusters and embeds image collections on the GPU: photos in, clusters or features out.',
    )
    .version(version)
    .configureOutput({
      writeOut: (text) => void process.stdout.write(text),
      writeErr: (text) => void process.stderr.write(text),
      outputError: (text, write) =>
        write(
          `keeplight: ${oneLine(text.replace(/^error: /, '').trimEnd())} (see keeplight --help)\n`,
        ),
    })
    .exitOverride()
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight cluster ./photos -k 10
  $ keeplight embed ./photos --model clip-vit-b-32
  $ keeplight demo
  $ keeplight doctor

Exit codes: 0 done, 1 internal error, 2 wrong arguments, 3 images, folder or model that can't be had,
4 malformed weights, 5 no usable GPU adapter or GPU failure, 6 results can't be written,
130 interrupted. KEEPLIGHT_ADAPTER chooses an adapter, KEEPLIGHT_CACHE the cache folder.
KEEPLIGHT_TUNE=off ignores what keeplight tune found. HF_HOME, HF_TOKEN, HF_ENDPOINT and
HF_HUB_OFFLINE say where models come from and are kept.`,
    )
  addClusterCommand(program, context)
  addCheckCommand(program, context)
  addDemoCommand(program, context)
  addDoctorCommand(program, context)
  addEmbedCommand(program, context)
  addMergeCommand(program, context)
  addEvalCommand(program, context)
  addInfoCommand(program, context)
  addKmeansCommand(program, context)
  addModelsCommand(program, context)
  addOrganizeCommand(program, context)
  addPredictCommand(program, context)
  addProbeCommand(program, context)
  addSearchCommand(program, context)
  addTsneCommand(program, context)
  addTuneCommand(program, context)
  addBenchPaperCommand(program, context)
  addStudyCommand(program, context)
  addZeroShotCommand(program, context)
  return program
}
