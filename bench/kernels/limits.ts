import { copyKernel, fmaLoopKernel, fmaLoopSize } from '../../src/runtime/speed.ts'
import type { Device } from '../../src/index.node.ts'
import type { Inputs } from './inputs.ts'

/** A copy that reads and writes `bytes` in all. */
export function copyOf(bytes: number) {
  const size = Math.ceil(bytes / 32)
  return ({ device, random }: Inputs) => {
    const x = random([4 * size])
    return () => device.dispatch(copyKernel, { x, out: device.empty([4 * size]) }, { size })
  }
}

/** The FMA loop in as many workgroups as keep the adapter busy for a while. */
export function fmaLoop(device: Device) {
  const { groups, outputs, flops } = fmaLoopSize(device)
  return {
    flops,
    prepare: () => () => {
      device.dispatch(fmaLoopKernel, { out: device.empty([outputs]) }, { groups })
    },
  }
}
