export { readCases, runCases, type CaseOutcome, type CasesFile, type PolicyCase } from './cases.ts';
export { explain, type Attempt, type Explained, type Explanation } from './explain.ts';
export type { Finding } from './finding.ts';
export { lintPolicy, readPolicySource, type PolicySource } from './lint.ts';
