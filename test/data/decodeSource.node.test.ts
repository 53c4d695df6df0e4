import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import sharp from 'sharp'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeSource } from '../../src/data/decodeSource.node.ts'
import type { ImageInput } from '../../src/model/imageInput.ts'
import { preprocess } from '../../src/model/preprocess.ts'
import { KeeplightError } from '../../src/runtime/errors.ts'
import { describeGolden, readGolden, readGoldenTensors } from '../support/golden.ts'
import { configs, names } from '../support/pillowPictures.node.ts'
import { expectSameBytes } from '../support/sameBytes.ts'

const decode = (image: unknown) => decodeSource(image as ImageInput, { name: 'image 4' })

async function errorOf(image: unknown): Promise<string> {
  const error: unknown = await decode(image).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(error).toBeInstanceOf(KeeplightError)
  return `${(error as KeeplightError).code}: ${(error as KeeplightError).message}`
}

describeGolden("Node's pictures for embed", () => {
  // What is transparent shows white here, and Pillow's `convert('RGB')` drops alpha.
  const opaque = names.filter((name) => !name.startsWith('alpha'))

  it('are prepared to the bytes of Pillow, whatever sharp would do', async () => {
    const expected = await readGoldenTensors('preprocess/expected.safetensors')
    expect(opaque.length).toBeGreaterThan(8)
    for (const name of opaque) {
      const bytes = await readGolden(`preprocess/${name}.png`)
      const pixels = await decode(bytes)
      for (const family of ['clip', 'dino'] as const) {
        const { data } = preprocess(pixels, configs[family])
        expectSameBytes(data, expected.bytes(`${name}/${family}_uint8`))
      }
    }
  })
})

describe("Node's sources of pictures for embed", () => {
  let folder: string
  let server: Server
  const data = Uint8Array.from({ length: 40 * 30 * 3 }, (_, i) => (i * 37) % 251)
  let png: Buffer
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keeplight-decode-'))
    png = await sharp(data, { raw: { width: 40, height: 30, channels: 3 } })
      .png()
      .toBuffer()
    await writeFile(join(folder, 'picture.png'), png)
    await writeFile(join(folder, 'damaged.png'), png.subarray(0, 500))
    server = createServer((request, response) => {
      response.statusCode = request.url === '/picture.png' ? 200 : 404
      response.end(request.url === '/picture.png' ? png : '')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterAll(async () => {
    server.close()
    await rm(folder, { recursive: true })
  })
  const address = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  it('are paths, addresses, bytes, blobs and pixels', async () => {
    const path = join(folder, 'picture.png')
    const own = new Uint8Array(png)
    const sources: unknown[] = [
      path,
      pathToFileURL(path),
      `${address()}/picture.png`,
      png,
      own,
      own.buffer,
      new Blob([own]),
      new File([own], 'picture.png'),
      { width: 40, height: 30, data },
    ]
    for (const source of sources) {
      const pixels = await decode(source)
      expect([pixels.width, pixels.height]).toEqual([40, 30])
      expectSameBytes(new Uint8Array(pixels.data), data)
    }
  })

  it('are named by an error that says what is wrong', async () => {
    expect(await errorOf(join(folder, 'none.png'))).toBe('input: image 4: there is no such file')
    expect(await errorOf(join(folder, 'damaged.png'))).toMatch(/^input: image 4: /)
    expect(await errorOf(new Uint8Array())).toBe('input: image 4: the file is empty')
    expect(await errorOf(`${address()}/none.png`)).toBe('input: image 4: the server answered 404')
    expect(await errorOf({})).toContain('input: image 4: a Object is no picture')
    expect(await errorOf(undefined)).toContain('image 4: a undefined is no picture')
    expect(await errorOf(folder)).toMatch(/^input: image 4: .*EISDIR/)
  })
})
