import { defineKernel, read, readWrite } from '../../src/index.node.ts'
import { linearIdWgsl, linearWorkgroups } from '../../src/kernels/kernel.ts'
import { fmaLoopKernel } from '../../src/runtime/speed.ts'
import type { Inputs } from './inputs.ts'

const GROUP = 64
/** vec4s that a thread moves. */
const EACH = 4

/** out = x, both of `size` vec4s: as little work around a load and a store as can be. */
const copyKernel = defineKernel({
  label: 'copy',
  bindings: { x: read('vec4<f32>'), out: readWrite('vec4<f32>') },
  params: { size: 'u32' },
  workgroups: ({ size }) => linearWorkgroups(size, GROUP * EACH),
  wgsl: /* wgsl */ `
${linearIdWgsl}
@compute @workgroup_size(${GROUP})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let start = linearWorkgroup(id, count) * ${GROUP * EACH}u + thread;
  let end = min(start + ${GROUP * EACH}u, params.size);
  for (var i = start; i < end; i += ${GROUP}u) { out[i] = x[i]; }
}
`,
})

/** A copy that reads and writes `bytes` in all. */
export function copyOf(bytes: number) {
  const size = Math.ceil(bytes / 32)
  return ({ device, random }: Inputs) => {
    const x = random([4 * size])
    return () => device.dispatch(copyKernel, { x, out: device.empty([4 * size]) }, { size })
  }
}

/** Multiply-adds of one invocation of the FMA loop: 256 rounds of four vec4s. */
const FMA_FLOPS = 256 * 4 * 4 * 2

/** The FMA loop in as many workgroups of 64 as keep any adapter busy for a while. */
export function fmaLoop(software: boolean) {
  const groups = software ? 512 : 65_535
  return {
    flops: groups * GROUP * FMA_FLOPS,
    prepare: ({ device }: Inputs) => {
      return () => {
        const out = device.empty([groups * GROUP])
        device.dispatch(fmaLoopKernel, { out }, { groups })
      }
    },
  }
}
