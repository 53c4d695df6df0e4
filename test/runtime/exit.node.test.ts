import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const library = new URL('../../dist/index.node.js', import.meta.url)

interface Outcome {
  readonly code: number | null
  readonly signal: string | null
  /** Milliseconds from `close()` to the end of the process. */
  readonly afterClose: number
  readonly output: string
}

/** Runs a module in a Node of its own; it prints `closed` when it has closed its device. */
function run(body: string): Promise<Outcome> {
  const script = `import { createDevice, add, scope } from ${JSON.stringify(library.href)}\n${body}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  let closed = Infinity
  child.stdout.on('data', (data: Buffer) => {
    output += data.toString()
    if (output.includes('closed') && closed === Infinity) closed = performance.now()
  })
  child.stderr.on('data', (data: Buffer) => (output += data.toString()))
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      resolve({ code, signal, afterClose: performance.now() - closed, output })
    })
  })
}

const work = `
const device = await createDevice()
const x = device.tensor(new Float32Array(100).fill(1), [100])
const y = scope(() => add(x, x))
if ((await y.read())[99] !== 2) process.exit(3)
device.close()
console.log('closed')
`

describe('Node after close()', () => {
  it('runs on a built library', () => {
    expect(existsSync(fileURLToPath(library)), 'dist is missing: npm run build').toBe(true)
  })

  it('exits by itself with 0 within two seconds, 100 times of 100', async () => {
    const outcomes: Outcome[] = []
    const lane = async (): Promise<void> => {
      while (outcomes.length < 100) outcomes.push(await run(work))
    }
    await Promise.all([lane(), lane()])
    const bad = outcomes.filter(({ code, afterClose }) => code !== 0 || !(afterClose < 2000))
    expect(bad).toEqual([])
  }, 300_000)

  it('keeps no core busy', async () => {
    const { code, output } = await run(`${work}
await new Promise((resolve) => setTimeout(resolve, 300))
const before = process.cpuUsage()
const start = performance.now()
await new Promise((resolve) => setTimeout(resolve, 2000))
const { user, system } = process.cpuUsage(before)
console.log('cores', (user + system) / 1000 / (performance.now() - start))
`)
    expect(code).toBe(0)
    const cores = Number(/cores ([\d.]+)/.exec(output)?.[1])
    expect(cores).toBeLessThanOrEqual(0.05)
  })

  it('can open and close devices one after the other in one process', async () => {
    const { code, output } = await run(`
for (let i = 0; i < 5; i++) {
  const device = await createDevice()
  const x = device.tensor(new Float32Array(64).fill(i), [64])
  if ((await add(x, x).read())[0] !== 2 * i) process.exit(3)
  device.close()
  device.close()
}
console.log('closed')
`)
    expect(output).not.toMatch(/error/i)
    expect(code).toBe(0)
  })

  it('survives closing and losing devices that have work pending', async () => {
    const { code, output } = await run(`
for (let i = 0; i < 12; i++) {
  const device = await createDevice()
  const x = device.tensor(new Float32Array(1000).fill(i), [1000])
  const pending = add(x, x).read().catch((error) => error.code)
  if (i % 2) device.close()
  else device.gpu.destroy()
  const outcome = await pending
  if (outcome !== (i % 2 ? 'disposed' : 'device-lost')) console.log('wrong', i, outcome)
  device.close()
}
console.log('closed')
`)
    expect(output).not.toMatch(/wrong/)
    expect(output).toContain('closed')
    expect(code).toBe(0)
  })
})
