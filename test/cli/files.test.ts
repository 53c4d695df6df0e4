import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { OutputError } from '../../src/cli/exitCodes.ts'
import { prepareOutput, writeFileAtomic } from '../../src/cli/files.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keeplight-files-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('prepareOutput', () => {
  it('makes the folder and leaves nothing in it', async () => {
    await prepareOutput(join(folder, 'a/b'))
    expect(await readdir(join(folder, 'a/b'))).toEqual([])
  })

  it('refuses a file', async () => {
    await writeFile(join(folder, 'file'), '')
    const promise = prepareOutput(join(folder, 'file'))
    await expect(promise).rejects.toBeInstanceOf(OutputError)
    await expect(promise).rejects.toThrow('this is a file, expected a folder for the results')
  })

  it('refuses a folder that takes no files', async () => {
    for (const path of ['/sys', '/sys/keeplight', '/proc/keeplight']) {
      await expect(prepareOutput(path)).rejects.toThrow(`${path}: cannot be written (E`)
    }
  })
})

describe('writeFileAtomic', () => {
  it('replaces a file and leaves no temporary one', async () => {
    const path = join(folder, 'x.txt')
    await writeFileAtomic(path, 'one')
    await writeFileAtomic(path, Buffer.from('two'))
    expect(await readFile(path, 'utf8')).toBe('two')
    expect(await readdir(folder)).toEqual(['x.txt'])
  })

  it('takes its temporary file away when it fails', async () => {
    const path = join(folder, 'folder')
    await prepareOutput(path)
    await writeFile(join(path, 'inside'), '')
    await expect(writeFileAtomic(path, 'x')).rejects.toBeInstanceOf(OutputError)
    expect(await readdir(folder)).toEqual(['folder'])
  })
})
