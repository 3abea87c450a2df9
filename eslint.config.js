import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const vagueNames = ['utils', 'util', 'helpers', 'helper', 'common', 'misc', 'shared', 'manager', 'lib'];

// A file or folder that is named for nothing collects everything.
const namedForWhatItSays = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { vague: "'{{name}}' says nothing: name the file for what it holds" },
  },
  create(context) {
    return {
      Program(node) {
        const inside = context.filename.slice(context.cwd.length + 1);
        for (const part of inside.split('/')) {
          const name = part.split('.')[0]?.toLowerCase() ?? '';
          if (vagueNames.includes(name)) context.report({ node, messageId: 'vague', data: { name } });
        }
      },
    };
  },
};

const noDefaultExport = {
  selector: 'ExportDefaultDeclaration',
  message: 'Named exports only: one name for a thing, everywhere.',
};
const shellByName = {
  selector: 'CallExpression[callee.name=/^(exec|execSync)$/]',
  message: 'No shell: use execFile or spawn with an argument list.',
};

export default defineConfig(
  { ignores: ['dist/', '.build/', 'coverage/', 'node_modules/'] },
  {
    files: ['**/*.ts', '**/*.js', '**/*.mjs'],
    plugins: { house: { rules: { named: namedForWhatItSays } } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'house/named': 'error',
      'no-empty': ['error', { allowEmptyCatch: false }],
      'max-lines': ['error', { max: 400, skipBlankLines: false, skipComments: false }],
      eqeqeq: ['error', 'always'],
      'no-eval': 'error',
      'no-implied-eval': 'error',
      'no-new-func': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
      'no-warning-comments': ['error', { terms: ['todo', 'fixme', 'xxx'], location: 'anywhere' }],
      'no-restricted-syntax': ['error', noDefaultExport, shellByName],
    },
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' },
      ],
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/unified-signatures': 'off',
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-unnecessary-boolean-literal-compare': 'off',
      // Ports are records of functions that use no `this`: taking one out is how they are used.
      '@typescript-eslint/unbound-method': 'off',
      // Where a string is spread, its code points are what is wanted.
      '@typescript-eslint/no-misused-spread': 'off',
      // Node's own types give a TLS connection as a plain stream.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // Fastify handlers and interface adapters are async by contract, whether or not they wait.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    // One table each, by design [R45].
    files: ['pure/contracts/limits.ts', 'pure/contracts/errors.ts'],
    rules: { 'max-lines': 'off' },
  },
  {
    // Tests look into values of unknown shape: a wrong assumption fails the test, which is its job.
    files: ['**/*.test.ts', '**/testing.ts', 'test/**/*.ts'],
    rules: {
      'max-lines': ['error', { max: 800, skipBlankLines: false, skipComments: false }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    // Their tools read a default export.
    files: ['*.config.ts', '*.config.js', '.dependency-cruiser.mjs', 'tools/mutation/*.config.mjs'],
    rules: { 'no-restricted-syntax': ['error', shellByName] },
  },
);
