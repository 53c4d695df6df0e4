import { afterEach, describe, expect, it, vi } from 'vitest'
import { loadModel } from '../src/loadModel.ts'
import { KeeplightError } from '../src/runtime/errors.ts'

/** What a page does with names; that it loads `keeplight-tiny` is in test/train/determinism.test.ts. */
afterEach(() => vi.unstubAllGlobals())

/** The error of loading while every address is absent, and the addresses that were asked for. */
async function absent(source: string | URL): Promise<{ error: KeeplightError; asked: string[] }> {
  const asked: string[] = []
  vi.stubGlobal('fetch', (url: string | URL | Request) => {
    asked.push(url instanceof Request ? url.url : String(url))
    return Promise.resolve(new Response(null, { status: 404 }))
  })
  const error: unknown = await loadModel(source).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof KeeplightError)) throw error ?? new Error('nothing was thrown')
  return { error, asked: [...new Set(asked)] }
}

describe('loadModel in a page', () => {
  it.each([
    [
      'ViT-B/32',
      'https://huggingface.co/openai/clip-vit-base-patch32/resolve/refs%2Fpr%2F15/model.safetensors',
    ],
    [
      'dinov2_vits14',
      'https://huggingface.co/facebook/dinov2-small/resolve/ed25f3a31f01632728cabb09d1542f84ab7b0056/model.safetensors',
    ],
    ['https://a.b/c.safetensors', 'https://a.b/c.safetensors'],
  ])('asks for %s at %s', async (name, address) => {
    const { error, asked } = await absent(name)
    expect(asked).toEqual([address])
    expect(error.code).toBe('input')
    expect(error.message).toContain('404')
  })

  it('asks for no name that no model has', async () => {
    const { error, asked } = await absent('clip-vit-b-33')
    expect(asked).toEqual([])
    expect(error.message).toMatch(/nearest are clip-vit-b-32, .*Give the address of a safetensors/)
  })
})
