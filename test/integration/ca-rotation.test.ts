import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AuthorityView } from '../../pure/contracts/index.ts';
import { ControlPlaneWorld, until } from './control-plane-world.ts';

const agent = `
import json, os, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
number = 0
open('/workspace/made', 'w').close()
while not os.path.exists('/workspace/over'):
    number += 1
    body = json.dumps({'path': f'/shared/notes/{number}.txt', 'content': 'x'}).encode()
    request = urllib.request.Request(os.environ['GLOVEBOX_URL'] + '/v1/tools/files_write', body, {'content-type': 'application/json'})
    try:
        direct.open(request, timeout=60).read()
        print('ok', flush=True)
    except Exception as error:
        print('failed', error, error.read() if hasattr(error, 'read') else '', flush=True)
`;
const policy = {
  text: `version: 1\ntools:\n  allow: ['files:write:/shared/notes/**']\n`,
  file: 'policy.yaml',
};

describe('the CA, replaced by a person while a session works', () => {
  const world = new ControlPlaneWorld(15);
  const view = async (): Promise<AuthorityView> => (await world.call('GET', '/v1/ca')).body as AuthorityView;
  const current = (of: AuthorityView): string | undefined =>
    of.roots.find(({ role }) => role === 'current')?.fingerprint;
  const output = async (id: string): Promise<string> =>
    String((await world.call('GET', `/v1/sessions/${id}/logs`)).body);
  const count = async (id: string, word: string): Promise<number> =>
    (await output(id)).split('\n').filter((line) => line.startsWith(word)).length;
  const goesOn = async (id: string): Promise<void> => {
    const before = await count(id, 'ok');
    await until(async () => (await count(id, 'ok')) > before + 5);
  };
  let session = '';
  beforeAll(async () => {
    mkdirSync(join(world.folder, '.local/share/glovebox/shared/notes'), { recursive: true, mode: 0o700 });
    writeFileSync(join(world.workspace, 'agent.py'), agent);
    await world.start();
    await world.waiveWhatIsMissing();
    session = (await world.run(['python3', '/workspace/agent.py'], { policy, name: 'worker' })).id;
    await until(async () => (await count(session, 'ok')) > 0);
  });
  afterAll(async () => await world.close());

  it('[R4] a new issuing CA, and a new root: the session that runs loses no call, and the bus takes both', async () => {
    const first = await view();
    expect(first).toMatchObject({ rotation: null, roots: [{ role: 'current' }] });
    const second = (await world.call('POST', '/v1/ca/rotate', { what: 'issuing' })).body as AuthorityView;
    expect(second.issuing.fingerprint).not.toBe(first.issuing.fingerprint);
    expect(current(second)).toBe(current(first));
    await goesOn(session);

    const begun = await world.call('POST', '/v1/ca/rotate', { what: 'root' });
    expect(begun.body).toMatchObject({
      rotation: { next: 'activate' },
      roots: [{ role: 'current' }, { role: 'next' }],
    });
    const again = await world.call('POST', '/v1/ca/rotate', { what: 'root' });
    expect(again).toMatchObject({ status: 409, body: { error: { code: 'GB_CA_ROTATING' } } });
    await until(async () => (await view()).rotation?.next === 'retire');
    await goesOn(session);
    await until(async () => (await view()).rotation === null);
    await goesOn(session);
    const last = await view();
    expect(last.roots).toHaveLength(1);
    expect(current(last)).not.toBe(current(first));
    // With its next certificate the bus knows the new root only; who connects to it then trusts no other either.
    const rootsOfTheBus = (): string[] =>
      readFileSync(join(world.state, 'nats/bundle.pem'), 'utf8').match(/[^-]+(?=-----END)/g) ?? [];
    await until(async () => rootsOfTheBus().length === 1);
    const der = Buffer.from(rootsOfTheBus()[0] ?? '', 'base64');
    expect(createHash('sha256').update(der).digest('hex')).toBe(current(last));
    const after = await world.run(['sh', '-c', 'touch /workspace/over; python3 /workspace/agent.py'], {
      policy,
    });
    expect(await world.untilState(after.id, 'ended')).toMatchObject({ exitCode: 0 });
    await goesOn(session);
    const { body } = await world.call('GET', '/v1/audit?session=system&limit=1000');
    const operations = (body as { record: { operation: string } }[]).map(({ record }) => record.operation);
    expect(operations.filter((one) => one.startsWith('ca.'))).toEqual([
      'ca.rotate-issuing',
      'ca.announce',
      'ca.activate',
      'ca.retire',
    ]);
    expect(await count(session, 'failed')).toBe(0);
  }, 150_000);

  const revoke = async (identity: string): Promise<unknown> =>
    (await world.call('POST', '/v1/ca/revoke', { identity })).body;

  it('[R4] a provider and the secret broker that are revoked begin anew; what is part of the control plane is not', async () => {
    for (const part of ['provider/files/main', 'secret-broker'])
      expect(await revoke(`spiffe://glovebox.local/${part}`)).toMatchObject({
        certificates: expect.any(Number),
      });
    await until(async () => (await world.call('GET', '/v1/secrets')).status === 200);
    await goesOn(session);
    for (const none of [
      'spiffe://glovebox.local/control-plane/local',
      'spiffe://other.local/secret-broker',
      'x',
    ])
      expect(await revoke(none)).toMatchObject({ error: { code: 'GB_INPUT_INVALID' } });
  }, 60_000);

  it('[R4] a gateway that is revoked ends, and its session with it, which keeps its changes', async () => {
    const answer = await revoke(`spiffe://glovebox.local/session/${session}/sidecar`);
    expect(answer).toMatchObject({ certificates: expect.any(Number) });
    expect(await world.untilState(session, 'ended')).toMatchObject({
      reason: 'sidecar-died',
      detail: 'the identity of its sidecar was revoked',
      changes: 'kept',
    });
    const { body } = await world.call('GET', '/v1/audit?session=system&limit=1000');
    expect(JSON.stringify(body)).toContain('identity.revoke');
  }, 60_000);
});
