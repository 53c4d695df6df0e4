import js from '@eslint/js'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const NODE_GLOBALS = ['process', 'Buffer', 'global', 'require', '__dirname', '__filename']

export default defineConfig([
  globalIgnores(['dist/', 'dist-web/', 'coverage/']),
  js.configs.recommended,
  tseslint.configs.strict,
  {
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      // TypeScript knows which names exist.
      'no-undef': 'off',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      // Kernels index typed arrays within bounds that the checker cannot see.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': [
        'error',
        { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false },
      ],
      // An unawaited GPU promise loses its error.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
    },
  },
  {
    // These files also run in a page.
    files: ['src/**/*.ts', 'web/**/*.ts'],
    ignores: ['src/cli/**', '**/*.node.ts', 'web/vite.config.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...NODE_GLOBALS.map((name) => ({
          name,
          message: 'only src/cli and *.node.ts may use Node: this file also runs in a page',
        })),
      ],
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              regex: '^(node:|webgpu$|sharp$|commander$|cli-progress$)',
              message: 'only src/cli and *.node.ts may use Node: this file also runs in a page',
            },
          ],
        },
      ],
      'no-console': 'error',
    },
  },
])
