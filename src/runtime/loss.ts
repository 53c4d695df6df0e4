import type { Command } from './command.ts'
import { KeeplightError } from './errors.ts'
import type { Allocation } from './pool.ts'
import { formatShape } from './shape.ts'

/** The error of everything that a lost device leaves undone. */
export function lossError({ reason, message }: GPUDeviceLostInfo): KeeplightError {
  return new KeeplightError(
    'device-lost',
    `the GPU device was lost (${reason}): ${message || 'no reason given'}; ` +
      'await recoverDevice(device), or create another with createDevice() and load what it held again',
    { cause: { reason, message } },
  )
}

/** Throws when a lost device took these bytes with it and nothing has written them since. */
export function assertHeld(
  allocation: Allocation,
  offset: number,
  bytes: number,
  what: string,
): void {
  if (!allocation.isLost(offset, bytes)) return
  throw new KeeplightError(
    'device-lost',
    `${what} was lost with its device and has no copy on the host; write it again, ` +
      'or make it with device.constant()',
  )
}

/** Throws when a command would touch what a lost device took with it. */
export function assertPresent(command: Command, own?: ReadonlySet<Allocation>): void {
  const names = Object.keys(command.kernel.bindings)
  command.ranges.forEach(({ allocation, offset, size, dtype, shape }, i) => {
    if (own?.has(allocation)) return
    assertHeld(
      allocation,
      offset,
      size,
      `${command.kernel.label}: ${names[i]} ${dtype}${formatShape(shape)}`,
    )
  })
}

/** What a kernel writes to is no longer what the host has a copy of. */
export function forgetSources({ kernel, ranges }: Command): void {
  Object.values(kernel.bindings).forEach(({ access }, i) => {
    if (access === 'readWrite') ranges[i]!.allocation.source = undefined
  })
}

/** What `told` resolves with if it does so within some ms: losses are told a little after they happen. */
export function soon<T>(told: Promise<T>, ms = 50): Promise<T | undefined> {
  return Promise.race([told, new Promise<undefined>((resolve) => setTimeout(resolve, ms))])
}
