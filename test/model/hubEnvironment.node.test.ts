import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { hubEnvironment, hubToken } from '../../src/model/hubEnvironment.node.ts'
import { requestFacts, type HubClient } from '../../src/model/hubRequest.node.ts'
import { errorOf } from '../support/errorOf.ts'

describe('hubEnvironment', () => {
  it.each([
    [{}, join(homedir(), '.cache/huggingface/hub')],
    [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
    [{ XDG_CACHE_HOME: '/x', HF_HOME: '/h' }, '/h/hub'],
    [{ HF_HOME: '~/h' }, join(homedir(), 'h/hub')],
    [{ HF_HOME: '/h', HF_HUB_CACHE: '/c' }, '/c'],
    [{ HF_HOME: '/h', HF_HUB_CACHE: '' }, '/h/hub'],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/c' }, '/c'],
  ])('keeps models of %j in %s', (env, cache) => {
    expect(hubEnvironment(env).cache).toBe(cache)
  })

  it('reads token file, endpoint, timeout and offline', () => {
    expect(hubEnvironment({ HF_HOME: '/h' }).tokenFile).toBe('/h/token')
    expect(hubEnvironment({ HF_HOME: '/h', HF_TOKEN_PATH: '/t' }).tokenFile).toBe('/t')
    expect(hubEnvironment({}).endpoint).toBe('https://huggingface.co')
    expect(hubEnvironment({ HF_ENDPOINT: 'https://a.b/c/' }).endpoint).toBe('https://a.b/c')
    expect(hubEnvironment({}).timeout).toBe(10_000)
    expect(hubEnvironment({ HF_HUB_DOWNLOAD_TIMEOUT: '2.5' }).timeout).toBe(2_500)
    expect(hubEnvironment({ HF_HUB_OFFLINE: '0' }).offline).toBe(false)
    expect(hubEnvironment({ HF_HUB_OFFLINE: 'true' }).offline).toBe(true)
  })

  it.each([
    { HF_ENDPOINT: 'huggingface.co' },
    { HF_ENDPOINT: 'ftp://huggingface.co' },
    { HF_ENDPOINT: 'https://user:secret@huggingface.co' },
    { HF_ENDPOINT: 'https://huggingface.co?token=secret' },
    { HF_HUB_DOWNLOAD_TIMEOUT: 'soon' },
    { HF_HUB_DOWNLOAD_TIMEOUT: '0' },
  ])('refuses %j', (env) => {
    const error = errorOf(() => hubEnvironment(env))
    expect(error.code).toBe('usage')
    expect(error.message).toContain(Object.keys(env)[0])
    expect(error.message).not.toContain('secret')
  })
})

describe('hubToken', () => {
  const tokenAt = (HF_ENDPOINT: string): Promise<string | undefined> =>
    hubToken(hubEnvironment({ HF_ENDPOINT, HF_TOKEN: 'hf_x' }))

  it.each([
    'https://huggingface.co',
    'https://a.b:8443/c',
    'http://127.0.0.1:1',
    'http://[::1]:1',
    'http://localhost',
  ])('is sent to %s', async (endpoint) => expect(await tokenAt(endpoint)).toBe('hf_x'))

  it.each([
    'http://huggingface.co',
    'http://10.0.0.1',
    'http://127.0.0.1.evil.com',
    'http://localhost.evil.com',
  ])('is not sent to %s', async (endpoint) => expect(await tokenAt(endpoint)).toBeUndefined())
})

describe('redirects', () => {
  /** Plays servers by address; notes who got which token. */
  function client(answers: Record<string, { status: number; headers?: Record<string, string> }>) {
    const asked: [string, string | null][] = []
    const fetch = (input: unknown, init?: RequestInit): Promise<Response> => {
      const url = String(input)
      asked.push([url, new Headers(init?.headers).get('authorization')])
      expect(new Headers(init?.headers).get('accept-encoding')).toBe('identity')
      const { status, headers } = answers[url]!
      return Promise.resolve(new Response(null, { status, ...(headers && { headers }) }))
    }
    const hub = hubEnvironment({ HF_TOKEN: 'hf_x' })
    const made: HubClient = {
      hub,
      fetch: fetch as typeof globalThis.fetch,
      signal: undefined,
      retryDelay: 1,
    }
    return { asked, client: made }
  }
  const start = 'https://huggingface.co/a/b/resolve/main/c'
  const commit = 'c'.repeat(40)

  it('within the hub keep the token, and one to elsewhere loses it for good', async () => {
    const { asked, client: made } = client({
      [start]: { status: 307, headers: { location: '/new/b/resolve/main/c' } },
      'https://huggingface.co/new/b/resolve/main/c': {
        status: 302,
        headers: { location: 'https://cdn.x/1' },
      },
      'https://cdn.x/1': { status: 302, headers: { location: 'https://huggingface.co/back' } },
      'https://huggingface.co/back': {
        status: 200,
        headers: { 'x-repo-commit': commit, etag: `W/"${'e'.repeat(40)}"`, 'content-length': '12' },
      },
    })
    expect(await requestFacts(new URL(start), made)).toEqual({
      commit,
      etag: 'e'.repeat(40),
      size: 12,
    })
    expect(asked.map(([, token]) => token)).toEqual(['Bearer hf_x', 'Bearer hf_x', null, null])
  })

  it('are not followed when the first answer says what is wanted', async () => {
    const headers = {
      'x-repo-commit': commit,
      'x-linked-etag': `"${'f'.repeat(64)}"`,
      'x-linked-size': '5',
    }
    const { asked, client: made } = client({
      [start]: { status: 302, headers: { ...headers, location: 'https://cdn.x/1' } },
    })
    expect(await requestFacts(new URL(start), made)).toEqual({
      commit,
      etag: 'f'.repeat(64),
      size: 5,
    })
    expect(asked.length).toBe(1)
  })

  it.each([
    ['http://cdn.x/1', 'redirects to where nothing is fetched from'],
    ['file:///etc/passwd', 'redirects to where nothing is fetched from'],
    [start, 'more than 10 redirects'],
  ])('to %s end', async (location, problem) => {
    const { client: made } = client({ [start]: { status: 302, headers: { location } } })
    await expect(requestFacts(new URL(start), made)).rejects.toThrow(problem)
  })
})
