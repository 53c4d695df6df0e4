/**
 * Vitest's setup for tests on Dawn: gives Node the globals that a page has, so that a test file
 * reads `navigator.gpu` in both.
 */
import { create, globals } from 'webgpu'

Object.assign(globalThis, globals)
if (!('navigator' in globalThis)) {
  Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true })
}
Object.defineProperty(globalThis.navigator, 'gpu', { value: create([]), configurable: true })
