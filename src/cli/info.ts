import type { Command } from 'commander'
import sharp from 'sharp'
import { version } from '../../package.json'
import { createDevice, measureSpeed } from '../index.node.ts'
import { defaultCacheFolder } from '../data/cache.node.ts'
import type { Context } from './context.ts'
import { addCommonOptions } from './settings.ts'

interface InfoOptions {
  readonly adapter?: string
  readonly quiet: boolean
  readonly json: boolean
}

/** Adds `keeplight info`. */
export function addInfoCommand(program: Command, context: (output: InfoOptions) => Context): void {
  const command = program
    .command('info')
    .summary('show the adapter, its features, limits and speed')
    .description('Shows which adapter Keeplight uses, what it can do, and how fast it is.')
  addCommonOptions(command)
  command
    .addHelpText(
      'after',
      `
Examples:
  $ keeplight info
  $ keeplight info --adapter lavapipe --json`,
    )
    .action(async (options: InfoOptions) => {
      const { terminal } = context(options)
      const info = await gatherInfo(options.adapter)
      terminal.printJson(info)
      terminal.print(describeInfo(info))
    })
}

type Info = Awaited<ReturnType<typeof gatherInfo>>

async function gatherInfo(adapterName: string | undefined) {
  const device = await createDevice({ adapter: adapterName })
  try {
    const { adapter, features, limits } = device
    const speed = await measureSpeed(device)
    const versions = { keeplight: version, node: process.versions.node, ...imageVersions() }
    return { versions, adapter, features, limits, speed, cache: defaultCacheFolder(process.env) }
  } finally {
    device.close()
  }
}

function imageVersions(): { sharp: string; libvips: string } {
  const { sharp: own = '', vips = '' } = sharp.versions
  return { sharp: own, libvips: vips }
}

function describeInfo({ versions, adapter, features, limits, speed, cache }: Info): string {
  const { keeplight, node, sharp: sharpVersion, libvips } = versions
  const subgroups = adapter.subgroupSize > 0 ? `, subgroups of ${adapter.subgroupSize}` : ''
  const rows: [string, string][] = [
    ['keeplight', `${keeplight}, Node ${node}, sharp ${sharpVersion} (libvips ${libvips})`],
    ['adapter', `${adapter.description} (${adapter.vendor} ${adapter.architecture})`],
    ['kind', `${adapter.software ? 'software, on the processor' : 'hardware'}${subgroups}`],
    ['features', features.join(', ')],
    ...Object.entries(limits).map(([name, value]): [string, string] => [
      name,
      value.toLocaleString('en'),
    ]),
    ['f32 multiply-add', `${speed.fmaGflops.toFixed(1)} GFLOP/s`],
    ['f32 matmul', `${speed.matmulGflops.toFixed(1)} GFLOP/s`],
    ['copy', `${speed.copyGBs.toFixed(1)} GB/s`],
    ['cache', cache],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')
}
