import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { version } from '../../package.json'
import { fileTuneStore } from '../../src/runtime/tuneCache.node.ts'

it('keeps tuned choices as files of this version, and leaves no temporary ones', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keeplight-tune-'))
  const store = fileTuneStore(folder)
  expect(await store.load('key')).toBeUndefined()
  await store.save('key', 'first')
  await store.save('key', 'second')
  expect(await store.load('key')).toBe('second')
  expect(await readdir(join(folder, 'tune', version))).toEqual(['key.json'])
  // A folder in the place of the file is no reason to fail a run that only reads.
  expect(await fileTuneStore(join(folder, 'tune', version, 'key.json')).load('key')).toBeUndefined()
  await writeFile(join(folder, 'plain'), '')
  await expect(fileTuneStore(join(folder, 'plain')).save('key', 'x')).rejects.toThrow()
  await rm(folder, { recursive: true })
})
