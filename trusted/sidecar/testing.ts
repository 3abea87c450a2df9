import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { CompactSign, exportJWK } from 'jose';
import {
  asSandboxId,
  asSessionId,
  asTurnId,
  asUserId,
  defaultTrustDomain,
  encodeId,
  spiffeId,
  type AuditRecord,
} from '../../pure/contracts/index.ts';
import { purposes, TokenVerifier, type Purpose } from '../tokens/index.ts';
import type { McpEndpoint } from './agent/agent-server.ts';
import { createMcpEndpoint, type McpApi } from './agent/mcp-endpoint.ts';
import { OperationTrail } from './operation-trail.ts';
import type { Runtime } from './runtime.ts';
import { Turns } from './turns.ts';

/** For tests: ids in order, a clock that a test moves, keys as the signer's. */
let count = 0;
export const nextId = (): string => {
  const bytes = new Uint8Array(16);
  count += 1;
  new DataView(bytes.buffer).setUint32(12, count);
  return encodeId(bytes);
};

export interface TestRuntime extends Runtime {
  time: number;
  readonly lines: string[];
  /** Ends every wait that was begun with a delay of this length. */
  pass(ms: number): void;
}

export function testRuntime(): TestRuntime {
  const waiting: { ms: number; done: () => void }[] = [];
  const runtime: TestRuntime = {
    time: 1_800_000_000_000,
    lines: [],
    now: () => runtime.time,
    newId: nextId,
    delay: (ms) => new Promise((done) => waiting.push({ ms, done })),
    log: (line) => void runtime.lines.push(line),
    pass(ms) {
      for (const wait of waiting.splice(0)) {
        if (wait.ms === ms) wait.done();
        else waiting.push(wait);
      }
    },
  };
  return runtime;
}

export const session = asSessionId(nextId());
export const sandbox = asSandboxId(nextId());
export const turn = asTurnId(nextId());
export const alice = asUserId('local/1000');
export const self = spiffeId(defaultTrustDomain, { kind: 'sidecar', session });

export function openTurns(): Turns {
  const turns = new Turns({ now: () => 0, newToken: nextId });
  turns.open(turn, alice);
  return turns;
}

/** A trail into memory; `fail` makes storing fail. */
export function testTrail(runtime: Runtime): {
  trail: OperationTrail;
  records: AuditRecord[];
  control: { fail: boolean; outcomes: Promise<void> };
} {
  const records: AuditRecord[] = [];
  const control = { fail: false, outcomes: Promise.resolve() };
  const trail = new OperationTrail({
    session,
    sandbox,
    runtime,
    store: (bytes) => {
      if (control.fail) return Promise.reject(new Error('the bus is down'));
      const record = JSON.parse(Buffer.from(bytes).toString()) as AuditRecord;
      const stored = (): number => records.push(record);
      return record.kind === 'outcome' ? control.outcomes.then(stored) : Promise.resolve(stored());
    },
  });
  return { trail, records, control };
}

export interface TestSigner {
  readonly verifier: TokenVerifier;
  sign(
    purpose: Purpose,
    payload: object,
    as?: { typ?: string; key?: KeyObject; kid?: string },
  ): Promise<string>;
}

export async function testSigner(): Promise<TestSigner> {
  const keys = new Map<Purpose, KeyObject>();
  const jwks = [];
  for (const purpose of Object.keys(purposes) as Purpose[]) {
    const pair = generateKeyPairSync('ed25519');
    keys.set(purpose, pair.privateKey);
    jwks.push({ ...(await exportJWK(pair.publicKey)), kid: `${purpose}.1`, alg: 'EdDSA', use: 'sig' });
  }
  return {
    verifier: new TokenVerifier({ keys: jwks }),
    sign: async (purpose, payload, as = {}) => {
      const key = as.key ?? keys.get(purpose);
      if (key === undefined) throw new Error('no key');
      return await new CompactSign(Buffer.from(JSON.stringify(payload)))
        .setProtectedHeader({
          alg: 'EdDSA',
          typ: as.typ ?? purposes[purpose].typ,
          kid: as.kid ?? `${purpose}.1`,
        })
        .sign(key);
    },
  };
}

/** The product's MCP endpoint over tools of a test's own. */
export const mcpEndpointOver = (
  tools: ReturnType<McpApi['permitted']>,
  callTool: McpApi['callTool'],
): McpEndpoint =>
  createMcpEndpoint(
    {
      permitted: () => tools,
      callTool,
      requestPermission: () => Promise.reject(new Error('no permissions in this test')),
    },
    () => undefined,
  );

/** The engines as a sidecar prepares them, for one contract over both. */
export { engineOf } from './operations/engine-of.ts';
export { EgressCounter } from './egress-counter.ts';
