// The house's rules on who may import whom. Each says what breaking it would cost.

const rooms = '^(pure|trusted|untrusted|operator)/([^/]+)/';
// Tests, and what a room offers to tests (testing.ts).
const tests = '([.]test|/testing)[.]ts$';
// A room's public face. Drivers and providers are rooms within a room.
const faces = [
  '^(?:pure|trusted|untrusted|operator)/[^/]+/index[.]ts$',
  '^(?:trusted/drivers|untrusted/providers)/[^/]+/index[.]ts$',
];

/** What a room lends to the tests of others. */
const lent = '^(?:pure|trusted|untrusted|operator)/[^/]+/testing[.]ts$';

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'pure-imports-only-pure',
      comment: 'A decision that can reach I/O cannot be proven with properties.',
      severity: 'error',
      from: { path: '^pure/' },
      to: { path: '^(trusted|untrusted|operator|test|tools|bench|examples)/' },
    },
    {
      name: 'pure-has-no-io',
      comment: 'No clock, no randomness, no files, no network: of Node only the hash functions.',
      severity: 'error',
      from: { path: '^pure/', pathNot: tests },
      to: { dependencyTypes: ['core'], pathNot: '^(node:)?crypto$' },
    },
    {
      name: 'pure-packages',
      comment: 'pure/ uses parsers, the policy engine and signature checks, nothing that reaches out.',
      severity: 'error',
      from: { path: '^pure/', pathNot: tests },
      to: {
        path: 'node_modules/',
        pathNot: 'node_modules/(zod|yaml|ipaddr[.]js|diff|jose|graphql|@cedar-policy/cedar-wasm)/',
      },
    },
    {
      name: 'untrusted-and-operator-never-import-trusted',
      comment: 'Code that an attacker may run, or that a person starts, must not carry what holds keys.',
      severity: 'error',
      from: { path: '^(untrusted|operator|examples)/' },
      to: { path: '^trusted/' },
    },
    {
      name: 'trusted-imports-no-outside',
      comment: 'The trusted side must not run code that is written as if an attacker ran it.',
      severity: 'error',
      from: { path: '^trusted/' },
      to: { path: '^(untrusted|operator|test|tools|bench|examples)/' },
    },
    {
      name: 'untrusted-and-operator-are-apart',
      severity: 'error',
      from: { path: '^(untrusted|operator)/' },
      to: { path: '^(untrusted|operator|test|tools|bench|examples)/', pathNot: '^$1/' },
    },
    {
      name: 'only-through-the-face',
      comment: 'No room reaches into the inside of another: import its index.ts.',
      severity: 'error',
      from: { path: rooms, pathNot: '[.]test[.]ts$' },
      to: { path: rooms, pathNot: ['^$1/$2/', ...faces] },
    },
    {
      name: 'tests-through-the-face',
      comment: 'A test may use what another room lends to tests.',
      severity: 'error',
      from: { path: `${rooms}.*[.]test[.]ts$` },
      to: { path: rooms, pathNot: ['^$1/$2/', lent, ...faces] },
    },
    {
      name: 'drivers-and-providers-are-apart',
      comment:
        'One driver or provider never reaches into another. host looks at what gvisor needs, with what gvisor runs.',
      severity: 'error',
      from: { path: '^(trusted/drivers|untrusted/providers)/([^/]+)/', pathNot: '^trusted/drivers/host/' },
      to: { path: '^(trusted/drivers|untrusted/providers)/[^/]+/', pathNot: ['^$1/$2/', ...faces] },
    },
    {
      name: 'no-cycle',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'product-uses-no-development-package',
      comment: 'A development package is not there when Glovebox is installed.',
      severity: 'error',
      from: { path: '^(pure|trusted|untrusted|operator)/', pathNot: tests },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'product-never-imports-tests',
      severity: 'error',
      from: { path: '^(pure|trusted|untrusted|operator)/', pathNot: tests },
      to: { path: tests },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|[.]build)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
    },
  },
};
