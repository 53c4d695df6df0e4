import sharp, { type Sharp } from 'sharp'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  appearanceBytes,
  appearanceOf,
  packAppearance,
  unpackAppearance,
  type Appearance,
} from '../../src/data/appearance.ts'
import { decodePixels } from '../../src/data/decodeImage.node.ts'
import { DisjointSets } from '../../src/data/disjointSets.ts'
import { findCopies, groupLookAlikes } from '../../src/data/duplicates.ts'
import { findQualityIssues } from '../../src/data/quality.ts'
import { matchPictures } from '../../src/data/samePicture.ts'
import { drawScene, sceneKinds } from '../../src/data/scenes.ts'

const scene = (kind: number, seed = 0, edge = 256): Sharp => {
  const { width, height, data } = drawScene(sceneKinds[kind], seed)
  const image = sharp(data, { raw: { width, height, channels: 3 } })
  return image.resize({ width: Math.round(edge * 1.25), height: edge, fit: 'fill' })
}

async function look(image: Sharp, format: 'png' | 'jpeg' = 'png'): Promise<Appearance> {
  const bytes = await (
    format === 'png' ? image.png({ compressionLevel: 0 }) : image.jpeg({ quality: 40 })
  ).toBuffer()
  const pixels = await decodePixels(bytes)
  const { width, height } = pixels
  return appearanceOf(pixels, { width, height, bytes: bytes.length })
}

/** A sharp instance of what another one makes, so that operations come one after the other. */
const then = async (image: Sharp): Promise<Sharp> =>
  sharp(await image.png({ compressionLevel: 0 }).toBuffer())

let scenes: Appearance[]

beforeAll(async () => {
  const kinds = sceneKinds.flatMap((_, kind) => [look(scene(kind)), look(scene(kind, 1))])
  scenes = await Promise.all(kinds)
})

describe('matchPictures', () => {
  it.each<[string, (image: Sharp) => Sharp | Promise<Sharp>, string]>([
    ['an encoding at low quality', (image) => image, 'as it is'],
    ['a third of the size', (image) => image.resize({ height: 85, width: 107 }), 'as it is'],
    ['a mirror image', (image) => image.flop(), 'mirrored'],
    ['upside down', (image) => image.rotate(180), 'turned by 180°'],
    ['a flip', (image) => image.flip(), 'upside down and mirrored'],
    ['a quarter turn right', (image) => image.rotate(90), 'turned right'],
    ['a quarter turn left', (image) => image.rotate(270), 'turned left'],
    [
      'a mirrored quarter turn',
      async (i) => (await then(i.rotate(90))).flop(),
      'turned right and mirrored',
    ],
    [
      'a turned mirror image',
      async (i) => (await then(i.rotate(270))).flop(),
      'turned left and mirrored',
    ],
  ])('knows %s', async (_, change, name) => {
    // The second of each kind: JPEG keeps its outlines, which a night sky has few of.
    for (const kind of [0, 3]) {
      const changed = await look(await change(await then(scene(kind, 1))), 'jpeg')
      const match = matchPictures(scenes[kind * 2 + 1], changed)
      expect(match?.symmetry.name, sceneKinds[kind]).toBe(name)
      expect(match!.similarity).toBeGreaterThan(0.9)
    }
  })

  it('tells different pictures apart, and a picture from its grey copy', async () => {
    for (let a = 0; a < scenes.length; a++) {
      for (let b = 0; b < a; b++) expect(matchPictures(scenes[a], scenes[b])).toBeUndefined()
    }
    const grey = await look(scene(0).greyscale())
    expect(matchPictures(scenes[0], grey)).toBeUndefined()
  })

  it('compares neither flat pictures nor other shapes', async () => {
    const flat = await look(
      sharp({ create: { width: 64, height: 64, channels: 3, background: '#777' } }),
    )
    expect(matchPictures(flat, flat)).toBeUndefined()
    const wide = await look((await then(scene(0))).resize({ width: 512, height: 256, fit: 'fill' }))
    expect(matchPictures(scenes[0], wide)).toBeUndefined()
  })
})

describe('findCopies', () => {
  it('groups bytes and pictures, keeps the largest, and says how the others relate to it', async () => {
    const half = await look((await then(scene(2))).resize({ width: 160 }), 'jpeg')
    const turned = await look((await then(scene(2))).rotate(90), 'jpeg')
    const looks = [
      { hash: 'a', appearance: half },
      { hash: 'b', appearance: scenes[0] },
      { hash: 'c', appearance: scenes[4] },
      { hash: 'd', appearance: turned },
      { hash: 'b', appearance: scenes[0] },
      { hash: 'e', appearance: scenes[10] },
    ]
    const groups = findCopies(looks)
    expect(groups).toMatchObject([
      {
        kind: 'picture',
        best: 2,
        others: [
          { image: 0, relation: 're-encoded' },
          { image: 3, relation: 'turned right' },
        ],
      },
      { kind: 'bytes', best: 1, others: [{ image: 4, relation: 'same bytes', similarity: 1 }] },
    ])
    // Look-alikes of a copy are those of the copy that is kept.
    const pairs = [
      { a: 0, b: 5, cosine: 0.97 },
      { a: 1, b: 4, cosine: 1 },
    ]
    expect(groupLookAlikes(pairs, groups, looks)).toEqual([
      {
        kind: 'look-alike',
        best: 2,
        others: [{ image: 5, relation: 'look-alike', similarity: 0.97 }],
      },
    ])
  })

  it('finds copies among many without comparing all with all', async () => {
    const many = Array.from({ length: 400 }, (_, i) => ({
      hash: String(i),
      appearance: {
        ...scenes[i % scenes.length],
        width: 100 + 20 * Math.floor(i / scenes.length),
        height: 80 + 16 * Math.floor(i / scenes.length),
      },
    }))
    const groups = findCopies(many)
    expect(groups).toHaveLength(scenes.length)
    expect(groups.map(({ others }) => others.length + 1).reduce((a, b) => a + b)).toBe(400)
  })
})

describe('findQualityIssues', () => {
  it('names blurry, dark, bright, flat, odd-sized and odd-shaped images, and no others', async () => {
    const images = await Promise.all([
      ...[0, 1, 2, 3, 4].map((kind) => look(scene(kind, 2))),
      look((await then(scene(0, 3))).blur(5)),
      look((await then(scene(1, 3))).linear(0.15, 0)),
      look((await then(scene(2, 3))).linear(0.12, 224)),
      look((await then(scene(3, 3))).linear(0.05, 120)),
      look(scene(4, 3, 48)),
      look((await then(scene(5, 3))).extract({ left: 0, top: 0, width: 320, height: 64 })),
    ])
    const issues = findQualityIssues(images)
    const named = issues.map(({ kind, image }) => [kind, image])
    expect(named).toContainEqual(['blurry', 5])
    expect(named).toContainEqual(['dark', 6])
    expect(named).toContainEqual(['bright', 7])
    expect(named).toContainEqual(['low-contrast', 8])
    expect(named).toContainEqual(['odd-size', 9])
    expect(named).toContainEqual(['odd-shape', 10])
    expect(issues.filter(({ image }) => image < 5)).toEqual([])
    expect(issues.find(({ kind }) => kind === 'odd-size')?.reason).toMatch(
      /^60×48, 1\/\d\.\d of the median edge$/,
    )
  })

  it('calls pictures of 32×32 pixels blurry only when they are', async () => {
    const small = await Promise.all(sceneKinds.map((_, kind) => look(scene(kind, 4, 32))))
    expect(findQualityIssues(small).filter(({ kind }) => kind === 'blurry')).toEqual([])
    const blurred = await Promise.all(
      [0, 1, 2].map(async (kind) => look((await then(scene(kind, 4, 32))).blur(4))),
    )
    // What has no contrast left is called flat instead.
    const named = findQualityIssues(blurred).filter(({ kind }) => /^(blurry|low)/.test(kind))
    expect(named.map(({ kind }) => kind)).toContain('blurry')
    expect(new Set(named.map(({ image }) => image)).size).toBe(3)
  })
})

it('an appearance comes back from its bytes as it was', () => {
  const packed = packAppearance(scenes[3])
  expect(packed).toHaveLength(appearanceBytes)
  const { sharpness, low, high, ...exact } = scenes[3]
  expect(unpackAppearance(packed)).toMatchObject(exact)
  expect(unpackAppearance(packed).sharpness).toBeCloseTo(sharpness, 5)
  expect([unpackAppearance(packed).low, unpackAppearance(packed).high]).toEqual(
    [low, high].map(Math.fround),
  )
})

it('DisjointSets joins sets, and names those of two or more', () => {
  const sets = new DisjointSets(7)
  for (const [a, b] of [
    [5, 3],
    [1, 6],
    [3, 1],
  ])
    sets.union(a, b)
  expect(sets.groups()).toEqual([[1, 3, 5, 6]])
  expect([sets.find(6), sets.find(0)]).toEqual([1, 0])
})
