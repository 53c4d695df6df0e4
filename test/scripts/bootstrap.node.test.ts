import { spawnSync } from 'node:child_process'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Machine, type ProbeResult } from '../../scripts/bootstrap/machine.mjs'
import { type Goal, SetupError, bootstrap } from '../../scripts/bootstrap/steps.mjs'

const root = resolve(import.meta.dirname, '../..')
const LISTS_FILE = '/etc/apt/sources.list.d/keeplight-backports.list'

/** A machine that exists only here: what it has, and what was done to it. */
interface Fake {
  os: 'debian12' | 'debian13' | 'ubuntu' | 'fedora'
  privilege: 'root' | 'sudo' | 'none'
  modules: boolean
  built: boolean
  /** Major version of the installed lavapipe; Dawn takes 23 and newer. */
  mesa: number
  gpu: boolean
  chromium: boolean
  env: Record<string, string>
  /** Commands that fail, by a part of their text. */
  failing: string[]
  /** apt's sources already hold the backports. */
  backports: boolean
  /** apt has package lists, so that it knows candidates. */
  lists: boolean
  dryRun: boolean
  /** Dawn itself cannot be loaded. */
  fatal: boolean
}

const RELEASES = {
  debian12: { id: 'debian', codename: 'bookworm', name: 'Debian 12', mesa: 22 },
  debian13: { id: 'debian', codename: 'trixie', name: 'Debian 13', mesa: 25 },
  ubuntu: { id: 'ubuntu', codename: 'jammy', name: 'Ubuntu 22.04', mesa: 22 },
  fedora: { id: 'fedora', codename: '', name: 'Fedora', mesa: 0 },
}

const READY: Fake = {
  os: 'debian12',
  privilege: 'root',
  modules: true,
  built: true,
  mesa: 25,
  gpu: false,
  chromium: true,
  env: {},
  failing: [],
  backports: false,
  lists: true,
  dryRun: false,
  fatal: false,
}

/** What a run of the setup did, and the message it ended with if it gave up. */
async function setUp(goal: Goal, changes: Partial<Fake>) {
  const fake = { ...READY, ...changes }
  const os = RELEASES[fake.os]
  const commands: string[] = []
  const said: string[] = []
  const probe = (found: boolean): Promise<ProbeResult> => {
    if (fake.fatal) return Promise.resolve({ error: 'GLIBC_2.34 not found', fatal: true })
    return Promise.resolve(found ? { adapter: 'an adapter' } : { error: 'Dawn accepts no adapter' })
  }
  const machine: Machine = {
    dryRun: fake.dryRun,
    platform: 'linux',
    env: fake.env,
    modulesProblem: () => (fake.modules ? undefined : 'node_modules is missing'),
    buildProblem: () => (fake.built ? undefined : 'dist/index.js is missing'),
    probe: (icd) =>
      probe(icd === 'swiftshader' ? fake.chromium : fake.mesa >= 23 || (!icd && fake.gpu)),
    lavapipeIcd: () => (fake.mesa > 0 ? 'lavapipe' : undefined),
    swiftshaderIcd: () => (fake.chromium ? 'swiftshader' : undefined),
    chromium: () => (fake.chromium ? '/usr/bin/chromium' : undefined),
    release: () => os,
    privilege: () => fake.privilege,
    hasCommand: (name) => name === 'apt-get' && fake.os !== 'fedora',
    query(command) {
      if (command[0] === 'apt-cache') {
        const version = fake.lists ? `${os.mesa}.3.6-1+deb` : '(none)'
        return `${command[2]}:\n  Installed: (none)\n  Candidate: ${version}\n`
      }
      const suites = [os.codename, ...(fake.backports ? [`${os.codename}-backports`] : [])]
      return suites
        .map((suite) => `'http://mirror.test/debian/dists/${suite}/InRelease' x 0\n`)
        .join('')
    },
    exists: () => false,
    run(command, input) {
      const text = command.join(' ') + (input ? ` <<< ${input.trim()}` : '')
      commands.push(text)
      if (fake.dryRun) return true
      if (fake.failing.some((part) => text.includes(part))) return false
      if (text.includes('npm ci')) fake.modules = true
      if (text.includes('run --silent build')) fake.built = true
      if (text.includes('mesa-vulkan-drivers'))
        fake.mesa = text.includes('-backports') ? 25 : os.mesa
      if (text.endsWith(' chromium')) fake.chromium = true
      return true
    },
    execute: () => 0,
    say: (line) => said.push(line),
    detail: () => undefined,
  }
  const message = await bootstrap(goal, machine).then(
    () => undefined,
    (error: unknown) => {
      if (!(error instanceof SetupError)) throw error
      return error.message
    },
  )
  return { commands, said, message }
}

describe('the setup', () => {
  test.each(['demo', 'golden', 'test'] as const)(
    'is silent when %s has all it needs',
    async (goal) => {
      expect(await setUp(goal, {})).toEqual({ commands: [], said: [], message: undefined })
    },
  )

  test('brings everything to a bare Debian 12, its Mesa from the backports', async () => {
    const bare = { modules: false, built: false, mesa: 0, chromium: false }
    const { commands, said, message } = await setUp('test', bare)
    expect(message).toBeUndefined()
    const quiet = 'env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1'
    const install = `${quiet} apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=120`
    expect(commands).toEqual([
      'npm ci --no-audit --no-fund --loglevel=error',
      `${quiet} apt-get update -qq`,
      `${quiet} dd status=none of=${LISTS_FILE} <<< deb http://mirror.test/debian bookworm-backports main`,
      `${quiet} apt-get update -qq`,
      `${install} -t bookworm-backports mesa-vulkan-drivers libvulkan1`,
      `${install} chromium`,
      'npm run --silent build',
    ])
    expect(said).toHaveLength(7)
    for (const line of said) expect(line).toMatch(/^\S.*: \S|\(.*\)$/)
  })

  test('takes the Mesa of the release where it is new enough', async () => {
    const { commands, message } = await setUp('demo', { os: 'debian13', mesa: 0 })
    expect(message).toBeUndefined()
    expect(commands).toEqual([
      expect.stringMatching(/apt-get update -qq$/),
      expect.stringMatching(/Timeout=120 mesa-vulkan-drivers libvulkan1$/),
    ])
  })

  test('replaces a Mesa that Dawn refuses', async () => {
    const { commands, message } = await setUp('demo', { mesa: 22 })
    expect(message).toBeUndefined()
    expect(commands.at(-1)).toContain('-t bookworm-backports')
  })

  test('adds no source where the backports are already one', async () => {
    const { commands, message } = await setUp('demo', { mesa: 0, backports: true })
    expect(message).toBeUndefined()
    expect(commands.join()).not.toContain(LISTS_FILE)
    expect(commands.at(-1)).toContain('-t bookworm-backports')
  })

  test('lets a GPU serve the demo, but not the tests, which need lavapipe', async () => {
    expect((await setUp('demo', { gpu: true, mesa: 0 })).commands).toEqual([])
    expect((await setUp('golden', { gpu: true, mesa: 0 })).commands.at(-1)).toContain('mesa')
  })

  test('asks sudo only where it needs no password', async () => {
    const { commands } = await setUp('demo', { privilege: 'sudo', mesa: 0 })
    expect(commands.length).toBeGreaterThan(2)
    for (const command of commands) expect(command).toMatch(/^sudo -n env /)
  })

  test('prints the exact command where it cannot become root', async () => {
    const { commands, message } = await setUp('demo', { privilege: 'none', mesa: 0, lists: false })
    expect(commands).toEqual([])
    expect(message).toBe(
      'no WebGPU adapter is found (Dawn accepts no adapter); installing it needs root, so run:\n' +
        `    echo 'deb http://mirror.test/debian bookworm-backports main' | sudo tee ${LISTS_FILE} && \\\n` +
        '    sudo apt-get update && \\\n' +
        '    sudo apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1',
    )
  })

  test('takes back its source when the backports cannot be had', async () => {
    for (const failing of ['-t bookworm-backports', 'dd status=none']) {
      const { commands, message } = await setUp('demo', { mesa: 0, failing: [failing] })
      expect(commands.at(-1)).toMatch(new RegExp(`rm -f ${LISTS_FILE}$`))
      expect(message).toContain('apt could not install mesa-vulkan-drivers libvulkan1')
    }
  })

  test('goes on when another source of apt is broken', async () => {
    const { said, message } = await setUp('demo', {
      os: 'debian13',
      mesa: 0,
      failing: ['apt-get update'],
    })
    expect(message).toBeUndefined()
    expect(said).toContain('apt-get update failed; trying with the lists it has')
  })

  test('tells what to do where the newest Mesa of the release is too old', async () => {
    const { message } = await setUp('demo', { os: 'ubuntu', mesa: 0 })
    expect(message).toContain('Mesa 22.3.6-1+deb of Ubuntu 22.04 installed')
    expect(message).toContain("add the release's -updates suite")
  })

  test('names the variable that hides the driver', async () => {
    const { message } = await setUp('demo', {
      os: 'ubuntu',
      mesa: 0,
      env: { VK_ICD_FILENAMES: '/nowhere.json' },
    })
    expect(message).toContain('VK_ICD_FILENAMES=/nowhere.json hides it; unset VK_ICD_FILENAMES')
  })

  test('does not take the snap of Ubuntu for a Chromium', async () => {
    const { commands, message } = await setUp('test', { os: 'ubuntu', chromium: false })
    expect(commands).toEqual([])
    expect(message).toContain('npx playwright-core install --with-deps chromium')
  })

  test('does not replace a Chromium that the user named', async () => {
    const { commands, message } = await setUp('test', {
      chromium: false,
      env: { KEEPLIGHT_CHROMIUM: '/opt/none' },
    })
    expect(commands).toEqual([])
    expect(message).toContain('KEEPLIGHT_CHROMIUM=/opt/none is no program')
  })

  test('installs no driver where Dawn itself cannot be loaded', async () => {
    for (const goal of ['demo', 'test'] as const) {
      const { commands, message } = await setUp(goal, { fatal: true })
      expect(commands).toEqual([])
      expect(message).toContain('GLIBC_2.34 not found')
    }
  })

  test('says what is missing on a system without apt', async () => {
    const { message } = await setUp('demo', { os: 'fedora', mesa: 0 })
    expect(message).toContain("install Mesa's lavapipe 23 or newer")
  })

  test.each([
    ['npm ci', { modules: false }, 'npm ci failed'],
    ['run --silent build', { built: false }, 'npm run build failed'],
    ['chromium', { chromium: false }, 'apt could not install chromium'],
  ])('stops when `%s` fails', async (failing, changes, expected) => {
    const { message } = await setUp('test', { ...changes, failing: [failing] })
    expect(message).toContain(expected)
  })

  test('shows in a dry run what it would do, as far as that can be told', async () => {
    const bare = { built: false, mesa: 0, chromium: false, dryRun: true }
    const { commands, message } = await setUp('test', bare)
    expect(message).toBeUndefined()
    expect(commands.at(-1)).toBe('npm run --silent build')
    const withoutModules = await setUp('test', { ...bare, modules: false })
    expect(withoutModules.commands).toEqual([expect.stringContaining('npm ci')])
    expect(withoutModules.said.at(-1)).toBe('what else is missing can be told only with them')
  })
})

describe('the setup as a process', () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [join(root, 'scripts/bootstrap.mjs'), ...args], {
      encoding: 'utf8',
    })

  test.each([[[]], [['--for']], [['--for', 'x']], [['--for', 'demo', '--fast']]])(
    'refuses %j with its usage',
    (args) => {
      const { status, stderr } = run(...args)
      expect(status).toBe(2)
      expect(stderr).toMatch(/^usage: node scripts\/bootstrap\.mjs --for/)
    },
  )

  test('runs the command with its arguments and gives back its exit code', () => {
    const script = 'console.log(process.env.XDG_RUNTIME_DIR, process.argv[1]); process.exit(7)'
    const { status, stdout, stderr } = run(
      '--for',
      'golden',
      '--',
      process.execPath,
      '-e',
      script,
      'a b',
    )
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^\/.+ a b\n$/)
    expect(status).toBe(7)
  })
})
