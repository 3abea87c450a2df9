import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';

const rooms = ['pure', 'trusted', 'untrusted', 'operator', 'tools', 'bench', 'examples'];

interface Suite {
  readonly name: string;
  readonly include: readonly string[];
  readonly seconds: number;
  readonly parallel: boolean;
}

// The seconds end what hangs, on a machine much slower than ours; no test asserts a time.
// Suites that start real servers and sandboxes run one file at a time: two runsc starts beside each other
// measure the machine, not the code.
const suites: readonly Suite[] = [
  {
    name: 'unit',
    include: [...rooms.map((room) => `${room}/**/*.test.ts`), 'test/fuzz/**/*.test.ts'],
    seconds: 60,
    parallel: true,
  },
  {
    name: 'integration',
    include: ['test/contract/**/*.test.ts', 'test/integration/**/*.test.ts'],
    seconds: 240,
    parallel: true,
  },
  { name: 'adversarial', include: ['test/adversarial/**/*.test.ts'], seconds: 400, parallel: false },
  { name: 'e2e', include: ['test/e2e/**/*.test.ts'], seconds: 400, parallel: false },
];

function project(suite: Suite): TestProjectInlineConfiguration {
  return {
    test: {
      name: suite.name,
      include: [...suite.include],
      environment: 'node',
      pool: 'forks',
      fileParallelism: suite.parallel,
      maxWorkers: suite.parallel ? 2 : 1,
      testTimeout: suite.seconds * 1000,
      // A first run builds and installs what its tests need, and that takes as long as it takes.
      hookTimeout: 600_000,
      expect: { poll: { timeout: 60_000 } },
    },
  };
}

export default defineConfig({
  test: {
    projects: suites.map(project),
    passWithNoTests: true,
    teardownTimeout: 30_000,
  },
});
