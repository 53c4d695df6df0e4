import { engines } from '../../../package.json'
import { hubEnvironment } from '../../model/hubEnvironment.node.ts'
import { defaultCacheFolder } from '../../runtime/cacheFolder.node.ts'
import { ok, problem, reasonOf, warning, type Finding } from './finding.ts'
import type { Machine } from './machine.ts'

const GB = 1e9
/** Free space below which a model or a cache may not fit. */
const leastDisk = 2 * GB
const leastMemory = 1 * GB

/** The version of Node, against what package.json asks for. */
export function checkNode({ node }: Machine): Finding {
  const least = Number(/\d+/.exec(engines.node)![0])
  if (Number(node.split('.')[0]) >= least) return ok('Node', node)
  const remedy = `install Node ${least} or newer (nodejs.org, or: nvm install ${least})`
  return problem('Node', `${node}, expected ${engines.node}`, remedy)
}

/** Whether pictures can be decoded. */
export async function checkSharp(machine: Machine): Promise<Finding> {
  const { platform, arch } = machine
  try {
    await machine.load('sharp')
    await machine.decode()
    return ok('sharp (libvips)', 'decodes a picture')
  } catch (error) {
    const remedy = `npm install --include=optional --os=${platform} --cpu=${arch} sharp`
    return problem('sharp (libvips)', reasonOf(error), remedy)
  }
}

/** The feature cache, and the disk and memory of the machine. */
export async function checkSpace(machine: Machine): Promise<Finding[]> {
  const folder = defaultCacheFolder(machine.env)
  const findings: Finding[] = []
  try {
    await machine.tryFolder(folder)
    findings.push(ok('cache', `${folder}: ${gigabytes(await machine.sizeOf(folder))}`))
  } catch (error) {
    const detail = `${folder} can't be written (${reasonOf(error)}): features are computed anew each time`
    findings.push(warning('cache', detail, 'KEEPLIGHT_CACHE=<a folder of yours>'))
  }
  const disk = await machine.freeDisk(folder).catch(() => undefined)
  if (disk !== undefined) {
    const detail = `${gigabytes(disk)} free at ${folder}`
    const remedy = `free some, or KEEPLIGHT_CACHE and HF_HOME to another disk; rm -r ${folder} is safe`
    findings.push(disk < leastDisk ? warning('disk', detail, remedy) : ok('disk', detail))
  }
  const memory = `${gigabytes(machine.freeMemory)} free of ${gigabytes(machine.totalMemory)}`
  const remedy = 'end other programs, or take a smaller model, --dtype f16 and fewer --views'
  const tight = machine.freeMemory < leastMemory
  findings.push(tight ? warning('memory', memory, remedy) : ok('memory', memory))
  return findings
}

/** Variables that Keeplight knows. */
const known = ['KEEPLIGHT_ADAPTER', 'KEEPLIGHT_CACHE', 'KEEPLIGHT_DEBUG', 'KEEPLIGHT_TUNE']
const secret = /TOKEN$/

/** The variables that say how Keeplight runs, secrets left out. */
export function checkVariables({ env }: Machine): Finding {
  const set = Object.keys(env)
    .filter((name) => /^(KEEPLIGHT|HF)_/.test(name) && env[name])
    .sort()
  const shown = set.map((name) => (secret.test(name) ? `${name} is set` : `${name}=${env[name]}`))
  const unknown = set.filter((name) => name.startsWith('KEEPLIGHT_') && !known.includes(name))
  try {
    hubEnvironment(env)
  } catch (error) {
    return problem('variables', reasonOf(error), 'mend or unset that variable')
  }
  const detail = shown.join(', ') || 'none of KEEPLIGHT_*, HF_* is set'
  return unknown.length === 0
    ? ok('variables', detail)
    : warning(
        'variables',
        `${detail}; not known: ${unknown.join(', ')}`,
        `one of ${known.join(', ')}`,
      )
}

/** Whether models can be downloaded. */
export async function checkHub(machine: Machine): Promise<Finding> {
  const name = 'model hub'
  try {
    const { endpoint, offline } = hubEnvironment(machine.env)
    if (offline)
      return warning(name, 'HF_HUB_OFFLINE is set: nothing is downloaded', 'unset HF_HUB_OFFLINE')
    const status = await machine.reach(endpoint)
    if (status < 400) return ok(name, `${endpoint} answers`)
    return warning(name, `${endpoint} answers with ${status}`, 'check HF_ENDPOINT')
  } catch (error) {
    const remedy =
      'check the network and its proxy (HTTPS_PROXY), or give --model the path of a file'
    return warning(name, `it can't be reached: ${reasonOf(error)}`, remedy)
  }
}

function gigabytes(bytes: number): string {
  return bytes < GB ? `${Math.round(bytes / 1e6)} MB` : `${(bytes / GB).toFixed(1)} GB`
}
