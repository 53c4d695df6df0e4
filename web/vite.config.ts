import { defineConfig } from 'vite'

export default defineConfig({
  root: import.meta.dirname,
  // Relative addresses, so that the built page works from any folder of a server.
  base: './',
  assetsInclude: ['**/*.safetensors'],
  // The page imports the library's sources and the weights, which lie beside this folder.
  server: { fs: { allow: ['..'] } },
  // Inlined assets would be data: addresses, which the page's policy forbids.
  build: { outDir: '../dist-web', emptyOutDir: true, target: 'es2022', assetsInlineLimit: 0 },
  worker: { format: 'es' },
})
