import { describe, expect, it } from 'vitest'
import { labelsOf, withoutCommonTop } from '../../src/data/classes.ts'
import { parsePathList } from '../../src/data/pathList.ts'
import { namedSynsets, parseSynsets, synsetOf, synsetSubsets } from '../../src/data/synsets.ts'
import { errorOf } from '../support/errorOf.ts'

const list = (text: string, source = 'list.txt'): (string | undefined)[][] =>
  parsePathList(text, source).map(({ path, label, line }) => [path, label, String(line)])

describe('parsePathList', () => {
  it('takes a path a line, comments, blank lines, either line end and a byte order mark', () => {
    expect(list('\ufeff# mine\r\na b.jpg\r\n\r\n/x/Smith, John.png\nno ending')).toEqual([
      ['a b.jpg', undefined, '2'],
      ['/x/Smith, John.png', undefined, '4'],
      ['no ending', undefined, '5'],
    ])
  })

  it('takes labels after a tab, or a comma behind an image', () => {
    expect(list('a.jpg\tcat\nb, c.jpg\tdog')).toEqual([
      ['a.jpg', 'cat', '1'],
      ['b, c.jpg', 'dog', '2'],
    ])
    expect(list('a.jpg,cat\nb.jpg, big dog ')).toEqual([
      ['a.jpg', 'cat', '1'],
      ['b.jpg', 'big dog', '2'],
    ])
  })

  it('reads CSV with a head and quotes, such as assignments.csv', () => {
    const csv = 'path,cluster,label\n"a, ""x"".jpg",3,cat\nb.jpg,1,"dog, big"\n'
    expect(list(csv, 'list.csv')).toEqual([
      ['a, "x".jpg', 'cat', '2'],
      ['b.jpg', 'dog, big', '3'],
    ])
  })

  it.each([
    ['', 'list.txt: lists no images'],
    ['# nothing\n\n', 'list.txt: lists no images'],
    ['a.jpg\tcat\nb.jpg', 'list.txt, line 2: has no label, but line 1 has one'],
    ['\tcat', 'list.txt, line 1: expected a path first'],
    ['a\0b.jpg', 'list.txt, line 1: expected a path first'],
  ])('refuses %j', (text, message) => {
    const error = errorOf(() => list(text))
    expect(error).toMatchObject({ code: 'input', message: expect.stringContaining(message) })
  })
})

describe('synsets', () => {
  it('has the two subsets of the literature', () => {
    expect(synsetSubsets).toEqual(['imagenet-10', 'imagenet-dogs'])
    expect(namedSynsets('ImageNet-10')?.size).toBe(10)
    const dogs = namedSynsets('imagenet-dogs')!
    expect([dogs.size, new Set(dogs.values()).size]).toEqual([15, 15])
    for (const synset of dogs.keys()) expect(synset).toMatch(/^n0208|^n0209|^n021/)
    expect(namedSynsets('toString')).toBeUndefined()
  })

  it('reads lists with names and comments', () => {
    const synsets = parseSynsets('# two\nn00000001 a cat # mine\r\n\nn00000002\n', 'list')
    expect([...synsets]).toEqual([
      ['n00000001', 'a cat'],
      ['n00000002', 'n00000002'],
    ])
    expect(synsetOf('train/n00000001/x.jpg', synsets)).toBe('n00000001')
    expect(synsetOf('train/n00000003/n00000001', synsets)).toBeUndefined()
  })

  it.each([
    ['n1', 'list, line 1: expected a synset such as n02056570, got "n1"'],
    ['n00000001\nn00000001', 'list, line 2: n00000001 stands twice'],
    ['n00000001', 'list: has 1 synsets, expected at least 2'],
  ])('refuses %j', (text, message) => {
    const error = errorOf(() => parseSynsets(text, 'list'))
    expect(error).toMatchObject({ code: 'input', message: expect.stringContaining(message) })
  })
})

describe('classes', () => {
  it('are below the folders that all images lie in', () => {
    expect(withoutCommonTop(['a/b/x/1', 'a/b/y/2'])).toEqual(['x/1', 'y/2'])
    expect(withoutCommonTop(['a/1', 'a/b/2'])).toEqual(['1', 'b/2'])
    expect(withoutCommonTop(['ab/1', 'a/2'])).toEqual(['ab/1', 'a/2'])
    expect(withoutCommonTop([])).toEqual([])
  })

  it('are numbered by code units', () => {
    const { labels, classes } = labelsOf(['b', 'a', 'B', 'b'])
    expect(classes).toEqual(['B', 'a', 'b'])
    expect([...labels!]).toEqual([2, 1, 0, 2])
  })
})
