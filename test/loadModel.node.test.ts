import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadModel, parseSafetensors, serializeSafetensors } from '../src/index.node.ts'
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

  it('takes weights in several files, by their index or its folder', async () => {
    const whole = parseSafetensors(new Uint8Array(readFileSync(tiny)))
    const { tensors } = whole
    const names = [...tensors.keys()].sort()
    const files = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    const fileOf = (i: number): string => files[i % 2]!
    const place = join(folder, 'shards')
    mkdirSync(place)
    for (const file of files) {
      const part = names
        .filter((_, i) => fileOf(i) === file)
        .map((name) => {
          const { shape } = tensors.get(name)!
          return [name, { dtype: 'F32', shape, data: whole.float32(name) }] as const
        })
      writeFileSync(join(place, file), serializeSafetensors(Object.fromEntries(part)))
    }
    const index = join(place, 'model.safetensors.index.json')
    const map = Object.fromEntries(names.map((name, i) => [name, fileOf(i)]))
    writeFileSync(index, JSON.stringify({ metadata: {}, weight_map: map }))

    const pixels = new Uint8Array(64 * 64 * 3).map((_, i) => i % 251)
    const features: number[][] = []
    for (const source of ['keeplight-tiny', index, place]) {
      const model = await loadModel(source)
      features.push([...(await model.embedPixels(pixels))])
      await model.dispose()
    }
    expect(features[1]).toEqual(features[0])
    expect(features[2]).toEqual(features[0])
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
