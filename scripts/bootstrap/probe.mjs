/**
 * Asks Dawn for an adapter and a device, and prints one line of JSON: `{"adapter": "…"}`, or
 * `{"error": "…"}`, with `"fatal": true` where no driver would help. A process of its own, because a
 * bad driver can end it.
 */

/**
 * @param {import('./machine.mjs').ProbeResult} result
 * @returns {never}
 */
function answer(result) {
  console.log(JSON.stringify(result))
  // Dawn's threads would keep the process alive.
  process.exit(0)
}

const dawn = await import('webgpu').catch((error) =>
  answer({ error: `the webgpu package cannot be loaded: ${error.message}`, fatal: true }),
)
try {
  const adapter = await dawn.create([]).requestAdapter()
  if (!adapter) answer({ error: 'Dawn accepts no adapter' })
  const { description, device, vendor } = adapter.info
  const gpu = await adapter.requestDevice()
  gpu.destroy()
  answer({ adapter: description || device || vendor })
} catch (error) {
  answer({ error: String(error) })
}
