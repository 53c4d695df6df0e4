import { describe, expect, it } from 'vitest'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'

describe('drawScene', () => {
  it('knows at least eight kinds', () => {
    expect(new Set(sceneKinds).size).toBeGreaterThanOrEqual(8)
  })

  it.each(sceneKinds)('%s follows from the seed alone and varies with it', (kind) => {
    const first = drawScene(kind, 1)
    expect([first.width, first.height, first.data.length]).toEqual([160, 120, 160 * 120 * 3])
    expect(drawScene(kind, 1).data).toEqual(first.data)
    const other = drawScene(kind, 2).data
    let moved = 0
    for (let i = 0; i < other.length; i++) moved += Math.abs(first.data[i] - other[i])
    expect(moved / other.length).toBeGreaterThan(8)
  })

  it('draws different kinds from one seed', () => {
    const [first, ...rest] = sceneKinds.map((kind) => drawScene(kind, 9).data.join())
    expect(rest).not.toContain(first)
  })
})
