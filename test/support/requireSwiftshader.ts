import { REMEDY, findSwiftshaderIcd } from '../../scripts/adapters.mjs'

/** Vitest's global setup: without this driver the project cannot run, and must not pass. */
export default function requireSwiftshader(): void {
  if (!findSwiftshaderIcd()) {
    throw new Error(`Chromium's SwiftShader (vk_swiftshader_icd.json) is not found; run: ${REMEDY}`)
  }
}
