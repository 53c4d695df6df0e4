import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel } from '../src/index.node.ts'
import { keeplightTinyUrl } from '../src/loadModel.ts'
import { KeeplightError } from '../src/runtime/errors.ts'

/** What a model may be given as in Node; downloads are in test/model/hub.node.test.ts and test/cli. */
const tiny = fileURLToPath(keeplightTinyUrl())
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'keeplight-load-'))
  mkdirSync(join(folder, 'mine'))
  copyFileSync(tiny, join(folder, 'mine/model.safetensors'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function messageOf(source: string | URL | ArrayBuffer): Promise<string> {
  const error: unknown = await loadModel(source, {
    env: { HF_HOME: folder, HF_HUB_OFFLINE: '1' },
  }).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof KeeplightError)) throw error ?? new Error('nothing was thrown')
  return `${error.code}: ${error.message}`
}

describe('loadModel in Node', () => {
  it('makes a device of its own, and closes it with the model', async () => {
    const model = await loadModel('keeplight-tiny')
    const features = await model.embedPixels(new Uint8Array(64 * 64 * 3).fill(128))
    expect(features.length).toBe(192)
    await model.dispose()
    await expect(model.embedPixels(new Uint8Array(64 * 64 * 3))).rejects.toThrow(/closed/)
  })

  it('takes a file, its address, its folder and its bytes', async () => {
    const path = join(folder, 'mine/model.safetensors')
    const names: string[] = []
    for (const source of [
      path,
      pathToFileURL(path),
      pathToFileURL(path).href,
      join(folder, 'mine'),
    ]) {
      const model = await loadModel(source)
      expect(model.dimension).toBe(192)
      names.push(model.name)
      await model.dispose()
    }
    expect(names).toEqual(['model.safetensors', 'model.safetensors', 'model.safetensors', 'mine'])
  })

  it('says what is wrong with a name or path, and what else there is', async () => {
    expect(await messageOf('dino-vit-s8')).toMatch(
      /^input: model dino-vit-s8: no model has this name, nearest are dino-vit-s-8, .*Give the path/,
    )
    expect(await messageOf('./none')).toMatch(/^input: model \.\/none: there is no such file/)
    expect(await messageOf('none.safetensors')).toContain('there is no such file')
    expect(await messageOf(pathToFileURL(join(folder, 'none')))).toContain('there is no such file')
    expect(await messageOf('ViT-B/32')).toMatch(
      /^input: model clip-vit-b-32: it is not in the cache/,
    )
    expect(await messageOf(folder)).toMatch(/has no model\.safetensors; give the path of the file/)
    writeFileSync(join(folder, 'pytorch_model.bin'), '')
    expect(await messageOf(folder)).toMatch(/pytorch_model\.bin is a Python pickle/)
    expect(await messageOf(new ArrayBuffer(4))).toMatch(/^format: /)
  })
})
