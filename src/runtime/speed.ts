import { defineKernel, mainWgsl, linearWorkgroups, read, readWrite } from '../kernels/kernel.ts'
import type { Device } from './device.ts'
import { matmul } from './ops/matmul.ts'
import { record, type Plan } from './plan.ts'
import { scope, type Tensor } from './tensor.ts'

const GROUP = 64
const FMA_STEPS = 256

/** A loop of fused multiply-adds on registers: 16 independent chains, 4 rounds unrolled. */
export const fmaLoopKernel = defineKernel({
  label: 'fmaLoop',
  bindings: { out: readWrite('f32') },
  params: { groups: 'u32' },
  workgroups: ({ groups }) => [groups, 1, 1],
  cost: ({ groups }) => ({ flops: groups * GROUP * FMA_STEPS * 4 * 4 * 2 }),
  wgsl: /* wgsl */ `
@compute @workgroup_size(${GROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  var a = vec4f(f32(id.x)); var b = a + 1.0; var c = a + 2.0; var d = a + 3.0;
  let x = vec4f(0.999);
  let y = vec4f(f32(id.x) * 1e-3);
  for (var i = 0u; i < ${FMA_STEPS / 4}u; i++) {
${'    a = fma(a, x, y); b = fma(b, x, y); c = fma(c, x, y); d = fma(d, x, y);\n'.repeat(4)}
  }
  out[id.x] = dot(a + b + c + d, vec4f(1.0));
}
`,
})

/** Workgroups of the FMA loop that keep an adapter busy for a while, and what they compute. */
export function fmaLoopSize({ adapter }: Device): {
  groups: number
  outputs: number
  flops: number
} {
  const groups = adapter.software ? 512 : 65_535
  return { groups, outputs: groups * GROUP, flops: groups * GROUP * FMA_STEPS * 4 * 4 * 2 }
}

/** vec4s that a thread of the copy moves. */
const EACH = 4

/** out = x, both of `size` vec4s: as little work around a load and a store as can be. */
export const copyKernel = defineKernel({
  label: 'copy',
  bindings: { x: read('vec4<f32>'), out: readWrite('vec4<f32>') },
  params: { size: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(size, GROUP * EACH),
  wgsl: /* wgsl */ `
${mainWgsl(GROUP)} {
  let start = linearWorkgroup(id, count) * ${GROUP * EACH}u + thread;
  let end = min(start + ${GROUP * EACH}u, params.size);
  for (var i = start; i < end; i += ${GROUP}u) { out[i] = x[i]; }
}
`,
})

export interface Speed {
  /** f32 multiply-adds in registers: the adapter's ceiling for arithmetic, GFLOP/s. */
  readonly fmaGflops: number
  /** Bytes read and written by a copying kernel, GB/s. */
  readonly copyGBs: number
  /** f32 matmul at 512×512×512, GFLOP/s. */
  readonly matmulGflops: number
}

/** Seconds of one replay, the best of several batches after a warm-up, each about `budget` ms. */
export async function timePlan(
  device: Device,
  plan: Plan<Record<string, Tensor>, unknown>,
  budget = 100,
): Promise<number> {
  const time = async (runs: number): Promise<number> => {
    const start = performance.now()
    plan.runMany(runs)
    await device.sync()
    return (performance.now() - start) / 1000 / runs
  }
  await time(1)
  let runs = 1
  let each = await time(runs)
  while (each * runs * 1000 < budget / 2 && runs < 10_000) {
    runs = Math.ceil(Math.min(runs * 8, budget / 1000 / each))
    each = Math.min(each, await time(runs))
  }
  for (let i = 0; i < 3; i++) each = Math.min(each, await time(runs))
  return each
}

/** Measures the adapter's ceilings and our matmul, in about a second. */
export async function measureSpeed(device: Device): Promise<Speed> {
  const measure = async (body: () => unknown): Promise<number> => {
    const plan = await record(device, {}, () => scope(() => void body()))
    const seconds = await timePlan(device, plan)
    plan.dispose()
    return seconds
  }
  const size = 2 ** 22
  const n = 512
  const values = Float32Array.from({ length: n * n }, (_, i) => Math.sin(i))
  const [x, a, b] = [
    device.tensor(new Float32Array(size).fill(1.5), [size]),
    device.tensor(values, [n, n]),
    device.tensor(values, [n, n]),
  ]
  const { groups, outputs, flops } = fmaLoopSize(device)
  const fma = await measure(() => {
    device.dispatch(fmaLoopKernel, { out: device.empty([outputs]) }, { groups })
  })
  const copy = await measure(() => {
    device.dispatch(copyKernel, { x, out: device.empty([size]) }, { size: size / 4 })
  })
  const product = await measure(() => matmul(a, b))
  ;[x, a, b].forEach((tensor) => tensor.dispose())
  return {
    fmaGflops: flops / fma / 1e9,
    copyGBs: (size * 8) / copy / 1e9,
    matmulGflops: (2 * n ** 3) / product / 1e9,
  }
}
