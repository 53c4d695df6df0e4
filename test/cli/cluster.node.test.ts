import {
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  realpath,
  rm,
  writeFile,
} from 'node:fs/promises'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { recordBytesOf } from '../../src/data/recordStore.node.ts'
import { createDevice, fileTuneStore, saveTuning } from '../../src/index.node.ts'
import { parseSafetensors } from '../../src/model/safetensors.ts'
import { drawFolder } from './drawFolder.ts'
import { type Finished, ensureBuilt, startCli } from './runCli.ts'

/** The command line as a user runs it: one process a test, on the software adapter. */

let folder: string
let pictures: string
let cache: string
let drawn: readonly string[]

beforeAll(async () => {
  ensureBuilt()
  folder = await mkdtemp(join(tmpdir(), 'keeplight-cli-'))
  pictures = join(folder, 'pictures')
  cache = join(folder, 'cache')
  drawn = await drawFolder(pictures, 4, 6)
})
afterAll(() => rm(folder, { recursive: true }))

const run = (...args: string[]): Promise<Finished> => startCli(cache, args).finished
/** The smallest training that still goes the whole way. */
const training = '--views 1 --restarts 1 --epochs 1 --min-steps 20 --pairs 3'.split(' ')
const small = [...training, '--no-cloud']

interface Metrics {
  readonly images: { used: number; reused: number; embedded: number; broken: number }
  readonly scores: readonly { method: string; accuracy?: number }[]
  readonly clusters: readonly { id: number; size: number }[]
  readonly files: Readonly<Record<string, string>>
  readonly broken: readonly { path: string; message: string }[]
}

describe('keeplight cluster', () => {
  it('writes assignments, head, metrics and report', async () => {
    const out = join(folder, 'out')
    const { code, stdout, stderr, errors } = await run(
      'cluster',
      pictures,
      '-k',
      '4',
      '--out',
      out,
      '--organize',
      'link',
      ...training,
    )
    expect(errors).toEqual([])
    expect(code).toBe(0)
    expect(stderr).toMatch(/pictures: 24 images in 4 classes\n/)
    expect(stderr).toMatch(/\nembedding: 24\/24 images, [\d.]+\/s, [\d.]+ s\n/)
    expect(stderr).toContain('\n0 images from the cache, 24 new, 0 broken\n')
    expect(stdout).toMatch(
      /^24 images in 4 clusters\nto look at: \d+ uncertain.*\n +ACC +NMI +ARI +inertia\nSCP /,
    )
    expect(stdout).toContain(`: ${join(out, 'clusters')}\n`)
    expect(stdout).toContain(`report: ${join(out, 'report.html')}\n`)
    const names = [
      'assignments.csv',
      'assignments.json',
      'clusters',
      'duplicates.csv',
      'head.safetensors',
      'metrics.json',
      'quality.json',
      'report.html',
    ]
    expect((await readdir(out)).sort()).toEqual(names)

    const rows = (await readFile(join(out, 'assignments.csv'), 'utf8')).trimEnd().split('\n')
    expect(rows[0]).toBe('path,cluster,probability,runner_up,runner_up_probability,label')
    expect(rows.slice(1).map((row) => row.split(',')[0])).toEqual(drawn)
    for (const row of rows.slice(1)) {
      const [, cluster, probability, runnerUp, second] = row.split(',').map(Number)
      expect(cluster).not.toBe(runnerUp)
      expect([0, 1, 2, 3]).toContain(cluster)
      expect(probability).toBeGreaterThanOrEqual(second)
      expect(probability + second).toBeLessThanOrEqual(1.000002)
    }

    // Each image has a link in the folder of its cluster.
    for (const row of rows.slice(1)) {
      const [path, cluster] = row.split(',')
      const links = (await readdir(join(out, 'clusters', cluster))).map((name) =>
        realpath(join(out, 'clusters', cluster, name)),
      )
      expect(await Promise.all(links)).toContain(await realpath(join(pictures, path)))
    }

    const head = parseSafetensors(await readFile(join(out, 'head.safetensors')))
    expect(head.tensors.get('12.weight')?.shape).toEqual([4, 192])
    expect(head.metadata.get('model')).toBe('keeplight-tiny')

    const metrics = JSON.parse(await readFile(join(out, 'metrics.json'), 'utf8')) as Metrics
    expect(metrics.images).toMatchObject({ used: 24, reused: 0, embedded: 24, broken: 0 })
    expect(metrics.clusters.reduce((sum, { size }) => sum + size, 0)).toBe(24)
    expect(metrics.scores.map(({ method }) => method)).toEqual([
      'SCP',
      'k-means on features',
      'k-means on raw pixels',
    ])
    const report = await readFile(join(out, 'report.html'), 'utf8')
    expect(report.match(/<img src="data:image\/webp;base64,/g)?.length).toBeGreaterThanOrEqual(24)
    expect(report).toContain('t-SNE of the head’s logits of 24 images')
    // Its functions are taken from the compiled program by their text.
    const script = /<script>([^]*)<\/script>/.exec(report)![1]
    expect(() => new Function(script)).not.toThrow()
  })

  it('lays the images out with the same head: keeplight tsne', async () => {
    const out = join(folder, 'tsne')
    const options = ['--iterations', '20', '--json', '--quiet', '--out', out]
    const head = join(folder, 'out')
    const { code, stdout } = await run('tsne', pictures, '--head', head, ...options)
    expect(code).toBe(0)
    const summary = JSON.parse(stdout) as { kl: number; images: object; files: object }
    expect(summary).toMatchObject({
      images: { used: 24, of: 24, reused: 24, embedded: 0 },
      ...{ of: 'the head’s logits', iterations: 20, seed: 0 },
    })
    expect(Object.keys(summary.files)).toEqual(['tsne.csv', 'tsne.json', 'tsne.html'])
    const lines = (await readFile(join(out, 'tsne.csv'), 'utf8')).trimEnd().split('\n')
    expect(lines[0]).toBe('path,x,y,label,cluster')
    expect(lines).toHaveLength(25)
    const { points, kl } = JSON.parse(await readFile(join(out, 'tsne.json'), 'utf8')) as {
      points: { x: number; y: number }[]
      kl: number
    }
    expect(kl).toBe(summary.kl)
    expect(points.every(({ x, y }) => Number.isFinite(x) && Number.isFinite(y))).toBe(true)
    const html = await readFile(join(out, 'tsne.html'), 'utf8')
    expect(html.match(/<img src="data:image\/webp;base64,/g)).toHaveLength(24)
  })

  it('starts from the cache the second time, gives the same, and prints JSON alone', async () => {
    const out = join(folder, 'again')
    const options = ['--json', '--quiet', ...small]
    const { code, stdout, stderr } = await run(
      'cluster',
      pictures,
      '-k',
      '4',
      '--out',
      out,
      ...options,
    )
    // Dawn's own two lines about limits of the software adapter can't be turned off.
    const ours = stderr.replace(/^Warning: max\w+ artificially reduced .*\n/gm, '')
    expect([code, ours]).toEqual([0, ''])
    const metrics = JSON.parse(stdout) as Metrics
    expect(metrics.images).toMatchObject({ used: 24, reused: 24, embedded: 0 })
    for (const name of ['assignments.csv', 'head.safetensors']) {
      expect(await readFile(join(out, name))).toEqual(await readFile(join(folder, 'out', name)))
    }
  })

  it('times every dispatch with --profile, and gives the same; tells of tuned kernels', async () => {
    const out = join(folder, 'profiled')
    const device = await createDevice({ adapter: 'lavapipe' })
    // For a problem that no run meets, so that the bits stay as they are.
    const tuned = { family: 'matmul', key: 'unmet', rule: 'tile64', best: 'tile32' }
    const times = { ruleSeconds: 2, bestSeconds: 1, discarded: [] }
    await saveTuning(device, [{ ...tuned, ...times }], fileTuneStore(cache))
    device.close()
    const trace = join(folder, 'traces', 'run.json')
    const asked = ['cluster', pictures, '-k', '4', '--out', out, '--profile', trace]
    const { code, stderr } = await run(...asked, ...small)
    expect(code).toBe(0)
    expect(stderr).toContain('\n1 tuned kernel choices (KEEPLIGHT_TUNE=off leaves them out)\n')
    const metrics = JSON.parse(await readFile(join(out, 'metrics.json'), 'utf8')) as {
      settings: { tuned: unknown }
    }
    expect(metrics.settings.tuned).toEqual({ 'matmul/unmet': 'tile32' })
    const forgot = await run('tune', '--clear')
    expect([forgot.code, forgot.errors]).toEqual([0, []])
    expect(forgot.stdout).toMatch(/^forgot what was tuned for llvmpipe/)
    expect(stderr).toMatch(/\nop +shapes +variant +calls +ms +GFLOP\/s +GB\/s +share\n/)
    expect(stderr).toMatch(/\nsampleBatch .* 20 +[\d.]+ /)
    expect(stderr).toContain(`\ntrace: ${trace}`)
    const { traceEvents } = JSON.parse(await readFile(trace, 'utf8')) as {
      traceEvents: { name: string; ph: string; ts: number; dur: number }[]
    }
    const events = traceEvents.filter(({ ph }) => ph === 'X')
    const [count] = /(\d+) dispatches: /.exec(stderr)!.slice(1)
    expect(events).toHaveLength(Number(count))
    expect(events.filter(({ name }) => name === 'sampleBatch')).toHaveLength(20)
    events.forEach(({ ts, dur }) => expect(Math.min(ts, dur)).toBeGreaterThanOrEqual(0))
    for (const name of ['assignments.csv', 'head.safetensors']) {
      expect(await readFile(join(out, name))).toEqual(await readFile(join(folder, 'out', name)))
    }
  })

  it('check lists copies and broken images, and needs no GPU for that', async () => {
    const twin = join(pictures, 'a twin.png')
    const broken = join(pictures, 'broken.jpg')
    await copyFile(join(pictures, drawn[3]), twin)
    await writeFile(broken, 'no picture')
    const out = join(folder, 'checked')
    const options = ['--no-look-alikes', '--json', '--quiet', '--out', out]
    const { code, stdout, errors } = await run('check', pictures, ...options)
    await Promise.all([rm(twin), rm(broken)])
    expect([code, errors]).toEqual([0, []])
    const found = JSON.parse(stdout) as Record<string, unknown>
    expect(found).toMatchObject({
      counts: { images: 25, copyGroups: 1, copies: 1, broken: 1 },
      copies: [
        {
          kind: 'bytes',
          best: { path: 'a twin.png', width: 160, height: 120 },
          others: [{ path: drawn[3], relation: 'same bytes', similarity: 1 }],
        },
      ],
      broken: [{ path: 'broken.jpg', message: expect.stringContaining('not a JPEG') }],
    })
    const [head, first, second, end] = (await readFile(join(out, 'duplicates.csv'), 'utf8')).split(
      '\n',
    )
    expect(head).toBe('group,kind,path,keep,relation,similarity,width,height,bytes')
    expect(first).toMatch(/^1,bytes,a twin\.png,yes,best,1,160,120,\d+$/)
    expect(second).toMatch(/^1,bytes,.*,no,same bytes,1,160,120,\d+$/)
    expect(end).toBe('')
  })

  it('names a broken image among good ones, and leaves it out', async () => {
    const broken = join(pictures, 'bad\nname.jpg')
    await writeFile(broken, 'no picture')
    const out = join(folder, 'broken')
    const { code, stdout, errors } = await run(
      'cluster',
      pictures,
      '-k',
      '3',
      '--out',
      out,
      ...small,
    )
    await rm(broken)
    expect(code).toBe(0)
    expect(errors).toEqual([
      expect.stringMatching(
        /^keeplight: left out bad name\.jpg: not a JPEG, PNG, WebP, AVIF, GIF or TIFF/,
      ),
    ])
    expect(stdout).toMatch(/^24 images in 3 clusters, 24 from the cache, 1 broken and left out\n/)
    const metrics = JSON.parse(await readFile(join(out, 'metrics.json'), 'utf8')) as Metrics
    expect(metrics.broken.map(({ path }) => path)).toEqual(['bad\nname.jpg'])
    expect(await readFile(join(out, 'report.html'), 'utf8')).toContain('1 file could not be read')
  })

  describe('ends with one line and a code of its own', () => {
    beforeAll(async () => {
      await mkdir(join(folder, 'empty'))
      await mkdir(join(folder, 'one'))
      await writeFile(join(folder, 'one/a.png'), await readFile(join(pictures, drawn[0])))
      await mkdir(join(folder, 'rotten'))
      for (const name of ['a.png', 'b.png'])
        await writeFile(join(folder, 'rotten', name), 'no picture')
      await writeFile(join(folder, 'file'), '')
    })

    it.each<[string, () => string[], number, RegExp]>([
      [
        'a wrong path',
        () => ['cluster', join(folder, 'nowhere'), '-k', '3'],
        3,
        /^keeplight: \S+nowhere: no such file or folder\. Check the spelling and the current directory\.$/,
      ],
      [
        'an empty file for a folder',
        () => ['cluster', join(folder, 'file'), '-k', '3'],
        3,
        /^keeplight: \S+file: the file is empty, expected a folder or an archive of images/,
      ],
      [
        'an empty folder',
        () => ['cluster', join(folder, 'empty'), '-k', '3'],
        3,
        /^keeplight: \S+empty: no images here; expected files ending in jpg, .* Give a folder of photos/,
      ],
      [
        'one image',
        () => ['cluster', join(folder, 'one'), '-k', '2'],
        3,
        /^keeplight: \S+one: found 1 readable image, expected at least 2/,
      ],
      [
        'more clusters than images',
        () => ['cluster', pictures, '-k', '25'],
        3,
        /^keeplight: \S+pictures: found 24 readable images, expected at least as many as clusters \(-k 25\)\. Give -k 24 or less/,
      ],
      [
        'an output that is read-only',
        () => ['cluster', pictures, '-k', '4', '--out', '/sys'],
        6,
        /^keeplight: \/sys: cannot be written \(E\w+: read-only or no permission\)\. Choose another folder with --out\.$/,
      ],
      [
        'an output that is a file',
        () => ['cluster', pictures, '-k', '4', '--out', join(folder, 'file')],
        6,
        /^keeplight: \S+file: this is a file, expected a folder for the results\./,
      ],
      [
        'one cluster',
        () => ['cluster', pictures, '-k', '1'],
        2,
        /^keeplight: option '-k, --clusters <n>' argument '1' is invalid\. Expected auto or a whole number from 2 to 10000\. \(see keeplight --help\)$/,
      ],
      [
        'no number of clusters',
        () => ['cluster', pictures],
        2,
        /^keeplight: required option '-k, --clusters <n>' not specified/,
      ],
      [
        'an unknown option',
        () => ['cluster', pictures, '-k', '3', '--colour'],
        2,
        /^keeplight: unknown option '--colour'/,
      ],
      ['an unknown command', () => ['sort'], 2, /^keeplight: unknown command 'sort'/],
      [
        'an unknown adapter',
        () => ['cluster', pictures, '-k', '4', '--out', join(folder, 'x'), '--adapter', 'abacus'],
        5,
        /^keeplight: .*abacus/,
      ],
      [
        'an unknown model',
        () => ['cluster', pictures, '-k', '4', '--out', join(folder, 'x'), '--model', 'nowhere'],
        3,
        /^keeplight: .*nowhere/,
      ],
      [
        'nothing but broken images',
        () => ['cluster', join(folder, 'rotten'), '-k', '2', '--out', join(folder, 'x')],
        3,
        /^keeplight: \S+rotten: none of the 2 images can be read; the first, a\.png: not a JPEG/,
      ],
    ])('%s', async (_, args, expected, line) => {
      const given = args()
      const inside = given.includes('--out') ? [] : ['--out', join(folder, 'x')]
      const { code, stdout, errors } = await run(
        ...given,
        ...(given[0] === 'cluster' ? inside : []),
      )
      expect(errors).toHaveLength(1)
      expect(errors[0]).toMatch(line)
      expect([code, stdout]).toEqual([expected, ''])
    })
  })

  it('loses no finished batch to Ctrl-C or a kill', async () => {
    const many = join(folder, 'many')
    await drawFolder(many, 8, 9)
    const ownCache = join(folder, 'own cache')
    const out = join(folder, 'killed')
    const args = ['cluster', many, '-k', '8', '--out', out, ...small]
    // A run's file is there before its first batch is.
    const batchBytes = 32 * recordBytesOf(4 * 2 * 192 + 32 * 32 * 3)
    const segments = (): string[] =>
      existsSync(ownCache)
        ? readdirSync(ownCache, { recursive: true, encoding: 'utf8' }).filter((name) => {
            return name.endsWith('.features') && statSync(join(ownCache, name)).size > batchBytes
          })
        : []
    const stopAfter = async (count: number, signal: NodeJS.Signals): Promise<Finished> => {
      const { child, finished } = startCli(ownCache, args)
      const timer = setInterval(() => {
        if (segments().length < count) return
        clearInterval(timer)
        child.kill(signal)
      }, 20)
      return finished.finally(() => clearInterval(timer))
    }
    const interrupted = await stopAfter(1, 'SIGINT')
    expect(interrupted.errors).toEqual([
      'keeplight: interrupted; run it again to go on with what is cached',
    ])
    expect(interrupted.code).toBe(130)
    const killed = await stopAfter(2, 'SIGKILL')
    expect(killed.signal).toBe('SIGKILL')
    expect(await readdir(out)).toEqual([])
    const { code, stdout } = await startCli(ownCache, [...args, '--json', '--quiet']).finished
    expect(code).toBe(0)
    const { images } = JSON.parse(stdout) as Metrics
    expect(images.reused).toBeGreaterThanOrEqual(64)
    expect(images.reused + images.embedded).toBe(72)
  })
})

describe('keeplight', () => {
  it('explains itself', async () => {
    const { code, stdout } = await run('--help')
    expect(code).toBe(0)
    expect(stdout).toContain('$ keeplight cluster ./photos -k 10')
    expect(stdout).toMatch(/Exit codes: 0 done, 1 internal/)
    const { stdout: more } = await run('cluster', '--help')
    for (const option of [
      '--preset',
      '--noise',
      '--pairs',
      '--restarts',
      '--views',
      '--no-cache',
      '--json',
    ]) {
      expect(more).toContain(option)
    }
  })

  it('doctor finds this machine sound, and says what is missing for a driver that is not there', async () => {
    const { code, stdout } = await run('doctor')
    expect(code).toBe(0)
    expect(stdout).toMatch(/\nok +adapter llvmpipe.*software.*f16, subgroups/)
    expect(stdout).toMatch(/\nok +computation: a product of matrices has the right values\n/)
    const nowhere = { VK_DRIVER_FILES: '/nowhere.json', VK_ICD_FILENAMES: '/nowhere.json' }
    const broken = await startCli(cache, ['doctor', '--json'], nowhere).finished
    expect([broken.code, broken.errors]).toEqual([5, []])
    const { ok, findings } = JSON.parse(broken.stdout) as {
      ok: boolean
      findings: { name: string; status: string; remedy?: string }[]
    }
    const problems = findings.filter(({ status }) => status === 'problem')
    expect([ok, problems.map(({ name }) => name)]).toEqual([false, ['Vulkan drivers', 'adapter']])
    expect(problems[0].remedy).toMatch(/^unset VK_DRIVER_FILES/)
  })

  it('info shows adapter, features, limits and speed', async () => {
    const { code, stdout } = await run('info', '--json')
    expect(code).toBe(0)
    const info = JSON.parse(stdout) as {
      adapter: { description: string; software: boolean }
      features: string[]
      limits: Record<string, number>
      speed: Record<string, number>
    }
    expect(info.adapter.description).toMatch(/llvmpipe/i)
    expect(info.adapter.software).toBe(true)
    expect(info.features).toContain('subgroups')
    expect(info.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(2 ** 27)
    for (const name of ['fmaGflops', 'copyGBs', 'matmulGflops']) {
      expect(info.speed[name], name).toBeGreaterThan(0.1)
    }
  })
})
