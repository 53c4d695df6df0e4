import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ImageCollection } from '../../src/data/collection.ts'
import { openCollection } from '../../src/data/openCollection.node.ts'
import { parseSynsets } from '../../src/data/synsets.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { Draws } from './draws.ts'
import { mutate } from './mutate.ts'
import { originals, samples, type Sample } from './samples.ts'

/**
 * Mutants of sound files. Each must give a KeeplightError or a correct read: names once, labels that are
 * classes, every image once and whole, and where checksums cover it, an original. None may take more
 * than a second of processor time or half a gigabyte.
 */
export interface FileFuzzOptions {
  readonly count: number
  readonly seed: number
  /** The first case; a case is the same whatever run it is part of. */
  readonly first?: number
  /** Kinds that take part; default all. */
  readonly kinds?: readonly string[]
  /** Told before each case begins. */
  readonly onCase?: (index: number) => void
}

export interface FileFuzzReport {
  readonly failures: string[]
  /** Mutants by what became of them, of each kind. */
  readonly read: Record<string, number>
  readonly refused: Record<string, number>
  /** The longest case in seconds of processor time, and the memory at its most above the start. */
  longest: number
  mostBytes: number
}

const MAX_SECONDS = 1
const MAX_BYTES = 512 * 1024 * 1024

export const fileKinds = samples.map(({ kind }) => kind)
const isOriginal = new Set(originals.map((bytes) => Buffer.from(bytes).toString('latin1')))

export async function fuzzFiles(options: FileFuzzOptions): Promise<FileFuzzReport> {
  const { count, seed, first = 0, kinds = fileKinds, onCase } = options
  const chosen = samples.filter(({ kind }) => kinds.includes(kind))
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  const folder = await mkdtemp(join(base, 'keeplight-fuzz-'))
  const report: FileFuzzReport = { failures: [], read: {}, refused: {}, longest: 0, mostBytes: 0 }
  // What the lists name.
  for (const [i, bytes] of originals.entries()) await writeFile(join(folder, `${i}.png`), bytes)
  const start = process.memoryUsage.rss()
  try {
    for (let index = first; index < first + count; index++) {
      onCase?.(index)
      const draws = new Draws(seed, index)
      const sample = draws.pick(chosen)
      const mutant = mutate(sample.bytes, draws, draws.pick(samples).bytes)
      const bytes = sample.finish?.(mutant) ?? mutant
      const before = process.cpuUsage()
      const problem = await examine(sample, bytes, folder, report)
      const { user, system } = process.cpuUsage(before)
      const seconds = (user + system) / 1e6
      const grown = process.memoryUsage.rss() - start
      report.longest = Math.max(report.longest, seconds)
      report.mostBytes = Math.max(report.mostBytes, grown)
      const fail = (what: string): void => {
        report.failures.push(`case ${index} of seed ${seed} (${sample.kind}): ${what}`)
      }
      if (problem !== undefined) fail(problem)
      if (seconds > MAX_SECONDS) fail(`took ${seconds} s`)
      if (grown > MAX_BYTES) fail(`left ${grown} bytes in use`)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
  return report
}

/** What is wrong with how a mutant was treated; undefined when nothing is. */
async function examine(
  sample: Sample,
  bytes: Uint8Array,
  folder: string,
  report: FileFuzzReport,
): Promise<string | undefined> {
  try {
    if (sample.kind === 'safetensors') checkTensors(bytes)
    else if (sample.kind === 'synsets') parseSynsets(new TextDecoder().decode(bytes), sample.file)
    else await checkFile(sample, bytes, join(folder, sample.file))
    report.read[sample.kind] = (report.read[sample.kind] ?? 0) + 1
    return undefined
  } catch (error) {
    const isRight =
      error instanceof KeeplightError && (error.code === 'input' || error.code === 'format')
    if (isRight && error.message.length < 2000) {
      report.refused[sample.kind] = (report.refused[sample.kind] ?? 0) + 1
      return undefined
    }
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
}

async function checkFile(sample: Sample, bytes: Uint8Array, path: string): Promise<void> {
  await writeFile(path, bytes)
  try {
    await checkCollection(await openCollection(path), sample.isChecked ?? false, bytes.length)
  } finally {
    await rm(path)
  }
}

async function checkCollection(
  collection: ImageCollection,
  isChecked: boolean,
  fileBytes: number,
): Promise<void> {
  const { files, labels, classes } = collection
  if (files.length === 0) throw new Error('a collection without images')
  if (new Set(files).size !== files.length) throw new Error('names that come twice')
  if (labels && labels.length !== files.length) throw new Error(`${labels.length} labels`)
  if (labels?.some((label) => label < 0 || label >= classes.length)) throw new Error('a wild label')
  const expected = files.values()
  let next = 0
  let total = 0
  for await (const { index, content } of collection.read()) {
    if (index !== next++ || expected.next().done) throw new Error(`image ${index} out of turn`)
    if ('bytes' in content) {
      total += content.bytes.length
      const text = Buffer.from(content.bytes).toString('latin1')
      if (isChecked && !isOriginal.has(text)) throw new Error('contents that are no original')
    } else if ('pixels' in content) {
      const { width, height, data } = content.pixels
      if (data.length !== width * height * 3) throw new Error(`${data.length} bytes of pixels`)
    } else if ('file' in content && !existsSync(content.file)) {
      throw new Error(`${content.file} is not there`)
    }
  }
  if (next !== files.length) throw new Error(`${next} of ${files.length} images were read`)
  if (total > 2000 * fileBytes) throw new Error(`${total} bytes out of ${fileBytes}`)
}

const bitsOf: Readonly<Record<string, number>> = {
  F32: 32,
  F64: 64,
  I64: 64,
  U8: 8,
  I8: 8,
  BOOL: 8,
}

function checkTensors(bytes: Uint8Array): void {
  const file = parseSafetensors(bytes)
  let total = 0
  for (const [name, { dtype, shape }] of file.tensors) {
    const data = file.bytes(name)
    total += data.length
    const items = shape.reduce((product, size) => product * size, 1)
    const bits = bitsOf[dtype]
    if (bits !== undefined && data.length * 8 !== items * bits) {
      throw new Error(`${name} has ${data.length} bytes for ${items} items of ${dtype}`)
    }
  }
  if (total > bytes.length) throw new Error(`${total} bytes of tensors in ${bytes.length}`)
}
