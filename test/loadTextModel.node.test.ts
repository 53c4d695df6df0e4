import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findManifest, loadTextModel, type TextModel } from '../src/index.node.ts'
import { fetchMerges } from '../src/loadTextModel.ts'
import { describeShared, readShared } from './support/golden.ts'
import { smallTower, TEXT_FEATURE } from './support/smallTower.ts'
import { rejectionOf } from './support/rejectionOf.ts'

describeShared('loadTextModel in Node', () => {
  let folder: string
  let merges: Uint8Array<ArrayBuffer>
  const bytes = smallTower()
  beforeAll(async () => {
    merges = await readShared('tokenizer/bpe_simple_vocab_16e6.txt.gz')
    folder = await mkdtemp(join(tmpdir(), 'keeplight-text-'))
    await mkdir(join(folder, 'alone'))
    await writeFile(join(folder, 'model.safetensors'), bytes)
    await writeFile(join(folder, 'bpe_simple_vocab_16e6.txt.gz'), merges)
    await cp(join(folder, 'model.safetensors'), join(folder, 'alone', 'model.safetensors'))
  })
  afterAll(async () => {
    await rm(folder, { recursive: true })
  })

  it('takes a folder with merges beside the weights, and bytes, with a device of its own', async () => {
    const models: TextModel[] = [
      await loadTextModel(folder),
      await loadTextModel(new Blob([bytes]), { merges }),
    ]
    const expected = await models[0]!.embed('a photo of a cat')
    expect(expected.dimension).toBe(TEXT_FEATURE)
    for (const model of models) {
      expect((await model.embed('a photo of a cat')).data).toEqual(expected.data)
      await model.dispose()
    }
    const { device } = models[0]!
    expect((await rejectionOf(device.sync())).code).toBe('disposed')
  })

  it('says what is missing: merges, a text tower, the vocabulary', async () => {
    const alone = await rejectionOf(loadTextModel(join(folder, 'alone')))
    expect(alone.code).toBe('usage')
    expect(alone.message).toContain('its merges are unknown; give the option merges')
    const tiny = await rejectionOf(loadTextModel('keeplight-tiny'))
    expect(tiny.message).toMatch(/no text tower|merges are unknown/)
    const bad = rejectionOf(loadTextModel(folder, { merges: 'nonsense' }))
    expect((await bad).message).toContain('expected 48894 merges')
    const damaged = rejectionOf(loadTextModel(new Blob(['{}']), { merges }))
    expect((await damaged).code).toBe('format')
  })

  it("asks the hub for a named model's merges, and for no model's that has no texts", async () => {
    const asked: string[] = []
    const server = createServer((request, response) => {
      asked.push(request.url!)
      response.statusCode = request.url!.includes('patch32') ? 200 : 404
      response.end('merges')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const fetchOf = (name: string): ReturnType<typeof fetchMerges> =>
      fetchMerges(findManifest(name)!, undefined, endpoint)
    expect(new TextDecoder().decode(await fetchOf('clip-vit-b-32'))).toBe('merges')
    expect(asked).toEqual(['/openai/clip-vit-base-patch32/resolve/refs%2Fpr%2F15/merges.txt'])
    expect((await rejectionOf(fetchOf('clip-vit-b-16'))).message).toContain('answered 404')
    expect((await rejectionOf(fetchOf('dino-vit-s-8'))).message).toContain('it has no text tower')
    expect(asked).toHaveLength(2)
    server.close()
  })
})
