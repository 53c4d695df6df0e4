import { REMEDY, findChromium } from '../../scripts/adapters.mjs'

/** Vitest's global setup: without a browser the page's tests cannot run, and must not pass. */
export default function requireChromium(): void {
  if (!findChromium()) {
    throw new Error(`no Chromium or Chrome is found (KEEPLIGHT_CHROMIUM names one); run: ${REMEDY}`)
  }
}
