import { type Command, Option } from 'commander'
import { temi, type ClusterOptions, type ClusterResult } from '../index.node.ts'
import { KeeplightError } from '../runtime/errors.ts'
import { integer } from './options.ts'
import { scpOptionsOf, type RecipeSettings } from './recipe.ts'

/** What `addMethodOptions` parses. */
export interface MethodSettings {
  readonly method: 'scp' | 'temi'
  /** Heads of a run, of TEMI. */
  readonly heads?: number
}

/** Options of which adapter trains. */
export function addMethodOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--method <name>', 'what trains: scp, or temi')
        .choices(['scp', 'temi'])
        .default('scp')
        .helpGroup('Training:'),
    )
    .addOption(
      new Option('--heads <n>', 'heads of a run, of TEMI alone (16)')
        .argParser(integer(1, 1000))
        .helpGroup('Training:'),
    )
}

/** As reports and tables call it. */
export const methodTitle = ({ method }: Pick<ClusterResult, 'method'>): string =>
  method.toUpperCase()

/** Settings of SCP's that mean something to TEMI too. */
const SHARED: readonly string[] = [
  ...['pairs', 'noise', 'restarts', 'epochs', 'minSteps', 'batch', 'dropLast', 'normalize'],
]

/**
 * The options as `cluster()` takes them.
 *
 * @throws KeeplightError `usage` for an option of the other method
 */
export function clusterOptionsOf(
  settings: RecipeSettings & MethodSettings,
): Partial<Omit<ClusterOptions, 'k' | 'device'>> {
  const { method, heads, preset } = settings
  const { learningRate, ...options } = scpOptionsOf(settings)
  const rate = learningRate === undefined ? {} : { learningRate }
  if (method === 'scp') {
    if (heads === undefined) return { preset, ...options, ...rate }
    throw new KeeplightError('usage', '--heads is an option of --method temi; leave it out')
  }
  const foreign = Object.keys(options).filter((name) => !SHARED.includes(name))
  if (preset === 'paper') foreign.unshift('preset')
  if (foreign.length > 0) {
    throw new KeeplightError(
      'usage',
      `--method temi has no ${foreign.join(', ')}: that is SCP’s; leave it out`,
    )
  }
  return { ...temi({ ...(heads !== undefined && { heads }), ...rate }), ...options }
}

/** The settings of a run that its method has, for files and reports. */
export function settingsOf(
  { settings, method }: Pick<ClusterResult, 'settings' | 'method'>,
  { heads = 16, lr }: MethodSettings & Pick<RecipeSettings, 'lr'>,
): Readonly<Record<string, unknown>> {
  if (method === 'scp') return { method, ...settings }
  const shared = Object.entries(settings).filter(([name]) => SHARED.includes(name))
  return {
    method,
    heads,
    ...Object.fromEntries(shared),
    ...(lr !== undefined && { learningRate: lr }),
  }
}
