import { fileURLToPath } from 'node:url'

import vue from '@vitejs/plugin-vue'
import { defineConfig } from 'vitest/config'

const source = fileURLToPath(new URL('./src', import.meta.url))

export default defineConfig({
  // Relative addresses, so that a proxy may serve the page below any path.
  base: './',
  plugins: [vue()],
  resolve: { alias: { '@': source } },
  define: {
    __VUE_OPTIONS_API__: 'false',
    __VUE_I18N_LEGACY_API__: 'false',
    __INTLIFY_PROD_DEVTOOLS__: 'false',
  },
  build: {
    target: 'es2022',
    // A few kilobytes in all: one file is sooner there than seven.
    cssCodeSplit: false,
    // Charts are a chunk of their own that only two pages ask for.
    chunkSizeWarningLimit: 700,
  },
  server: {
    // `npm run dev` beside a `dropcron serve` on its default port.
    proxy: {
      '/api': { target: process.env.DROPCRON_SERVER ?? 'http://127.0.0.1:8642', changeOrigin: false },
    },
  },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          environment: 'happy-dom',
          include: ['tests/unit/**/*.test.ts'],
          setupFiles: ['tests/unit/setup.ts'],
          env: { TZ: 'America/New_York' },
        },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          environment: 'node',
          include: ['tests/e2e/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
