import { defineConfig } from 'vitest/config';

export default defineConfig({
  cacheDir: '.build/mutation-cache',
  test: {
    include: ['pure/{policy,consent,compile,egress}/**/*.test.ts'],
    // They read files that are not copied.
    exclude: ['pure/compile/cedar-schema.test.ts', 'pure/policy/document.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
  },
});
