import { getEnvironmentData } from 'node:worker_threads'
import sharp from 'sharp'
import { describe, expect, it, vi } from 'vitest'
import { DecodePool } from '../../src/data/decodePool.node.ts'
import { blockLoaders } from '../../src/data/loaders.node.ts'

describe('blockLoaders', () => {
  it('runs once for the process, before the first thread, which inherits the note of it', async () => {
    const block = vi.spyOn(sharp, 'block')
    const config = { kind: 'thumbnail', height: 8 } as const
    const workerUrl = new URL('file:///no-such-thread.js')
    const pool = new DecodePool({ workers: 0, workerUrl, config, fileTimeout: 1000 })
    // A thread that blocked again would fail the pictures that others are in the middle of.
    expect(getEnvironmentData('keeplight.loaders')).toBe('blocked')
    expect(block).toHaveBeenCalledTimes(1)
    blockLoaders()
    expect(block).toHaveBeenCalledTimes(1)
    await pool.close()

    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>')
    await expect(sharp(svg).metadata()).rejects.toThrow(/unsupported image format/)
    const png = await sharp({ create: { width: 2, height: 2, channels: 3, background: 'red' } })
      .png()
      .toBuffer()
    expect((await sharp(png).metadata()).format).toBe('png')
  })
})
