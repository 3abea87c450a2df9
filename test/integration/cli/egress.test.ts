import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  endedSession,
  fakeControlPlane,
  fakeSession,
  type FakeControlPlane,
} from '../../../operator/client/testing.ts';
import { builtCli, runCli, type BuiltCli } from './built-cli.ts';

let cli: BuiltCli;
let fake: FakeControlPlane;
beforeAll(async () => {
  cli = await builtCli();
});
afterAll(() => cli.remove());
beforeEach(async () => {
  fake = await fakeControlPlane();
  fake.on('getSession', () => endedSession());
});
afterEach(() => fake.close());
const glovebox = (...args: readonly string[]) => runCli(cli, args, fake.env);

const base = {
  version: 1,
  session: 'a'.repeat(26),
  user: 'local/0',
  time: '2026-11-22T18:00:00.000Z',
  decision: 'allow',
  rule: 'egress.0',
};
const traffic = { status: 200, address: '93.184.216.34', sent: 4, received: 9, ms: 12 };
const url = 'https://api.example:443/v1';
const trail = [
  { ...base, kind: 'event', operation: 'session.start', id: 'i1' },
  { ...base, kind: 'intent', operation: 'egress:POST', id: 'i2', egress: { url } },
  { ...base, kind: 'intent', operation: 'egress:PUT', id: 'i3', egress: { url } },
  {
    ...base,
    kind: 'outcome',
    operation: 'egress:POST',
    id: 'i4',
    intent: 'i2',
    outcome: 'ok',
    egress: { url, ...traffic },
  },
  {
    ...base,
    kind: 'event',
    operation: 'egress:GET',
    id: 'i5',
    decision: 'deny',
    outcome: 'denied',
    rule: 'egress.default',
    egress: { url: 'https://evil.example:443/\u202e\u001b[2J' },
  },
  {
    ...base,
    kind: 'event',
    operation: 'egress:GET',
    id: 'i6',
    decision: 'deny',
    outcome: 'denied',
    rule: 'egress.default',
    egress: { url: 'https://docs.example:443/guide' },
  },
].map((record, index) => ({ seq: index + 1, record }));

/** As the control plane answers: records after a place. */
const serveTrail = (): void =>
  fake.on('audit', ({ query }) => trail.filter(({ seq }) => seq > Number(query.get('after'))));

describe('egress log', () => {
  beforeEach(serveTrail);

  test('has a line for each request, with rule, address, bytes and time; an outcome ends its intent', async () => {
    const entries = JSON.parse(
      (await glovebox('egress', 'log', 'calm-fox', '--json')).stdout.toString(),
    ) as object[];
    expect(entries).toHaveLength(4);
    expect(entries[0]).toMatchObject({ method: 'POST', url, rule: 'egress.0', outcome: 'ok', ...traffic });
    expect(entries[3]).toMatchObject({ method: 'PUT', outcome: 'open' });
  });

  test('[R47] shows an agent’s words escaped, and only what was denied where that is asked for', async () => {
    const { stdout } = await glovebox('egress', 'log', 'calm-fox', '--denied');
    expect(stdout.toString()).toContain('evil.example:443/\\u{202e}\\x1b[2J');
    expect(stdout.toString()).not.toMatch(/[\u001b\u202e]|POST/);
  });

  test('--follow ends with the session, and shows each record once', async () => {
    let asked = 0;
    fake.on('getSession', () => ((asked += 1) > 3 ? endedSession() : fakeSession()));
    const { stdout, code } = await glovebox('egress', 'log', 'calm-fox', '--follow', '--json');
    expect(code).toBe(0);
    expect(stdout.toString().trim().split('\n')).toHaveLength(4);
  });
});

describe('egress explain', () => {
  const policy = `version: 1
egress:
  - host: api.example
    credential: { secret: model, carrier: 'header:x-api-key' }
  - host: docs.example
    decision: ask
`;
  const explain = async (...args: readonly string[]) => {
    const file = join(fake.root, 'policy.yaml');
    writeFileSync(file, policy);
    return glovebox('egress', 'explain', ...args, '--policy', file);
  };

  test('says the rule with its place in the file, and the credential; nothing is asked of a control plane', async () => {
    const { stdout, code } = await explain('https://api.example/', '--header', 'X-API-Key: secret:model');
    expect(code).toBe(0);
    expect(stdout.toString()).toMatch(
      /GET https:\/\/api\.example\/: allowed\n {2}rule: egress\.0 \(.*policy\.yaml, line 3, column 5\)/,
    );
    expect(stdout.toString()).toContain('credential: model, as header x-api-key');
    expect(fake.calls).toEqual([]);
  });

  test('what is refused or left to a person ends with 77', async () => {
    const denied = await explain('https://api.example/', '--method', 'POST', '--json');
    expect(denied.code).toBe(77);
    expect(JSON.parse(denied.stdout.toString())).toMatchObject({
      verdict: 'deny',
      rule: 'egress.default',
      place: null,
      todo: 'Ask the person to add an egress rule to the policy: host api.example, methods [POST], paths [/].',
    });
    const asked = await explain('https://docs.example/', '--json');
    expect(JSON.parse(asked.stdout.toString())).toMatchObject({ verdict: 'ask', place: { line: 5 } });
    expect(asked.code).toBe(77);
  });

  test('by a session: the lines are those of `policy show`', async () => {
    fake.on('getSession', () => fakeSession());
    const params = { generation: 1, applied: 1 };
    fake.on('getSandboxPolicyStatus', () => ({ ...fakeSession(), ...params }));
    fake.on('getSandboxPolicy', () => ({ generation: 1, document: parse(policy) as object }));
    const { stdout } = await glovebox(
      'egress',
      'explain',
      'https://docs.example/',
      '--session',
      'calm-fox',
      '--json',
    );
    const { place } = JSON.parse(stdout.toString()) as { place: { line: number } };
    const shown = (await glovebox('policy', 'show', 'calm-fox')).stdout.toString().split('\n');
    expect(shown[place.line - 1]).toContain('- host: docs.example');
  });
});

describe('egress suggest', () => {
  let generation = 1;
  beforeEach(() => {
    generation = 1;
    serveTrail();
    fake.on('getSandboxPolicy', () => ({
      generation: 1,
      document: { version: 1, egress: [{ host: 'api.example' }] },
    }));
    fake.on('getSandboxPolicyStatus', () => ({ ...fakeSession(), generation, applied: 1 }));
    fake.on('updateSandboxPolicy', () => ({ ...fakeSession(), generation: 2, applied: 2 }));
  });
  const set = () => fake.calls.filter(({ name }) => name === 'updateSandboxPolicy');

  test('[R47] is YAML for a policy, of what was denied; nothing is changed by showing it', async () => {
    const text = (await glovebox('egress', 'suggest', 'calm-fox')).stdout.toString();
    expect(parse(text)).toEqual({
      egress: [{ host: 'docs.example', methods: ['GET'], paths: ['/guide'] }],
    });
    expect(text).toContain('# left: GET https://evil.example:443/');
    expect(text).not.toMatch(/[\u001b\u202e]/);
    expect(set()).toEqual([]);
  });

  test('--apply adds the rules behind the others, by the policy route; without a terminal it wants --yes', async () => {
    expect((await glovebox('egress', 'suggest', 'calm-fox', '--apply')).code).toBe(64);
    expect(set()).toEqual([]);
    const { code, stdout } = await glovebox('egress', 'suggest', 'calm-fox', '--apply', '--yes');
    expect(code).toBe(0);
    expect(stdout.toString()).toContain('host: docs.example');
    const [{ request }] = set() as [(typeof fake.calls)[number]];
    const { text } = request.body as { text: string };
    const { egress } = parse(text) as { egress: { host: string; credential?: unknown }[] };
    expect(egress.map(({ host }) => host)).toEqual(['api.example', 'docs.example']);
  });

  test('a policy that was changed meanwhile is left as it is', async () => {
    generation = 2;
    const { code, stderr } = await glovebox('egress', 'suggest', 'calm-fox', '--apply', '--yes');
    expect(code).not.toBe(0);
    expect(stderr).toContain('generation 2');
    expect(set()).toEqual([]);
  });
});
