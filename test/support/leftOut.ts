import { TestRunner } from 'vitest'
import type { KernelFeature } from '../../src/kernels/kernel.ts'
import type { Device } from '../../src/runtime/device.ts'

/**
 * What an adapter can't run is left out by name: a test says so here, and the end of a run has a line for
 * each project with what it left out (`leftOutReporter.ts`).
 */

export interface LeftOut {
  /** A suite, or cases of one. */
  readonly what: string
  readonly why: string
}

declare module '@vitest/runner' {
  interface TaskMeta {
    leftOut?: LeftOut[]
  }
}

/** Notes, in the test that is running, that a part of it can't run here. */
export function leaveOut(what: string, why: string): void {
  const test = TestRunner.getCurrentTest()
  if (!test) throw new Error(`leaveOut(${what}): call it within a test, or no report names it`)
  const list = (test.meta.leftOut ??= [])
  if (!list.some((other) => other.what === what && other.why === why)) list.push({ what, why })
}

/** Whether the device has a feature; where it has not, `what` is left out for that reason. */
export function supports(device: Device, feature: KernelFeature, what: string): boolean {
  if (device.has(feature)) return true
  leaveOut(what, `no ${feature}`)
  return false
}
