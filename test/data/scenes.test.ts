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
    const moved = first.data.reduce((sum, value, i) => sum + Math.abs(value - other[i]), 0)
    expect(moved / first.data.length).toBeGreaterThan(8)
  })

  it('draws different kinds from one seed', () => {
    const [first, ...rest] = sceneKinds.map((kind) => drawScene(kind, 9).data.join())
    expect(rest).not.toContain(first)
  })
})
