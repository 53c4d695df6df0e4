import { REMEDY, findLavapipeIcd } from '../../scripts/adapters.mjs'

/** Vitest's global setup: without this driver the project cannot run, and must not pass. */
export default function requireLavapipe(): void {
  if (!findLavapipeIcd()) {
    throw new Error(`Mesa's lavapipe (a software Vulkan driver) is not installed; run: ${REMEDY}`)
  }
}
