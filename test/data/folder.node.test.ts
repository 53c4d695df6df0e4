import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { scanFolder } from '../../src/data/folder.node.ts'

let root: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'keeplight-folder-'))
})
afterEach(() => rm(root, { recursive: true }))

async function touch(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), 'x')
  }
}

describe('scanFolder', () => {
  it('lists images by code units, any case of ending, and counts the rest', async () => {
    await touch('b.JPG', 'a.jpeg', 'B.tiff', 'é.webp', 'z.AVIF', 'notes.txt', 'jpg', '.hidden.png')
    const { files, ignored, labels, classes } = await scanFolder(root)
    expect(files).toEqual(['B.tiff', 'a.jpeg', 'b.JPG', 'z.AVIF', 'é.webp'])
    expect(ignored).toBe(2)
    expect(labels).toBeUndefined()
    expect(classes).toEqual([])
  })

  it('takes the first-level folders as classes, at any depth below', async () => {
    await touch('dog/1.png', 'cat/2.png', 'cat/deep/er/3.gif', 'empty/readme.md', '.git/4.png')
    const { files, labels, classes } = await scanFolder(root)
    expect(files).toEqual(['cat/2.png', 'cat/deep/er/3.gif', 'dog/1.png'])
    expect(classes).toEqual(['cat', 'dog'])
    expect([...(labels ?? [])]).toEqual([0, 0, 1])
  })

  it.each([
    ['an image beside the folders', ['cat/1.png', 'dog/2.png', 'top.png']],
    ['a single folder', ['cat/1.png', 'cat/2.png']],
  ])('sees no classes with %s', async (_, paths) => {
    await touch(...paths)
    expect((await scanFolder(root)).labels).toBeUndefined()
  })

  it('reads linked files, and enters no linked folder', async () => {
    await touch('real/1.png')
    await symlink(join(root, 'real/1.png'), join(root, 'link.png'))
    await symlink(root, join(root, 'real/loop'))
    await symlink(join(root, 'nowhere.png'), join(root, 'dangling.png'))
    expect((await scanFolder(root)).files).toEqual(['dangling.png', 'link.png', 'real/1.png'])
  })

  it('resolves a link to the folder itself', async () => {
    await touch('a/1.png')
    await symlink(join(root, 'a'), join(root, 'alias'))
    expect((await scanFolder(join(root, 'alias'))).root).toMatch(/\/a$/)
  })

  it.each([
    ['missing', 'no such file or folder'],
    ['file.png', 'this is a file, expected a folder of images'],
    ['void', 'no images here'],
    ['texts', 'no images here (1 other files were found)'],
  ])('refuses %s: %s', async (name, message) => {
    await touch('file.png', 'texts/a.txt')
    await mkdir(join(root, 'void'))
    const path = join(root, name)
    await expect(scanFolder(path)).rejects.toMatchObject({
      code: 'input',
      message: expect.stringContaining(`${path}: ${message}`),
    })
  })
})
