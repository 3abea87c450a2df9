import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { connect, type ConnectionOptions } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { defaultTrustDomain, spiffeId, type Workload } from '../../pure/contracts/index.ts';
import {
  checkedSvid,
  clientTlsOptions,
  newKeyRequest,
  type IdentityAuthority,
  type SvidMaterial,
} from '../../trusted/identity/index.ts';
import { TestAuthority } from '../../trusted/identity/testing.ts';
import { startTestSigner, type TestSigner } from '../../trusted/signer/testing.ts';
import { builtInit, collect, GatewayWorld, LinkWorld, startInit } from '../contract/link-world.ts';
import { newId } from './sidecar-names.ts';

let signer: TestSigner;
let built: ReturnType<typeof builtInit>;
let authority: IdentityAuthority;
beforeAll(async () => {
  signer = await startTestSigner();
  built = builtInit();
});
afterAll(async () => {
  await signer.close();
  rmSync(built.folder, { recursive: true, force: true });
});
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function gateway(): Promise<GatewayWorld> {
  authority = GatewayWorld.newAuthority(signer);
  const world = await GatewayWorld.start(authority);
  closers.push(() => world.close());
  return world;
}

async function linked(world: GatewayWorld, file?: string): Promise<LinkWorld> {
  const started = startInit(built.init, [file ?? (await world.joinFile(built.folder))], false);
  const link = await world.gateway.linked;
  const end = new LinkWorld(started, link.socket, link.renewal);
  closers.push(() => end.stop());
  await end.event('hello');
  return end;
}

/** What somebody has who took key and certificate out of a sandbox: a join of our own, kept. */
async function stolen(world: GatewayWorld): Promise<SvidMaterial> {
  const { keyPem, csrPem } = await newKeyRequest();
  const token = await authority.createJoinToken(world.sandbox);
  return checkedSvid(keyPem, await authority.joinSandbox(world.session, token, csrPem), world.sandbox);
}

const patience = { timeout: 120_000 };
const fixed = (svid: SvidMaterial) => ({ current: () => svid, onRotate: () => () => undefined });

/** Whether a gateway keeps that connection: until it says its first byte. */
async function opens(world: GatewayWorld, options: ConnectionOptions): Promise<boolean> {
  const socket = connect({
    host: '127.0.0.1',
    port: world.gateway.port,
    ALPNProtocols: ['h2'],
    ...options,
  });
  socket.on('error', () => undefined);
  closers.push(() => socket.destroy());
  const linkOf = world.gateway.linked.then(() => true);
  const closed = new Promise<false>((done) => socket.once('close', () => done(false)));
  return await Promise.race([linkOf, closed]);
}

describe('a sandbox whose link comes over the network', () => {
  it('[R6] its join file is gone and its token used up before a command can run', async () => {
    const world = await gateway();
    const file = await world.joinFile(built.folder);
    const copy = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
    await linked(world, file);
    expect(existsSync(file)).toBe(false);
    const again = startInit(built.init, [await world.joinFile(built.folder, copy)], false);
    expect(await again.ended).toBe(1);
    expect(world.refused.join('\n')).toContain('GB_TOKEN_REPLAYED');
  });

  it('[R6] of 100 that race with one join file one gets a certificate', async () => {
    const world = await gateway();
    const file = await world.joinFile(built.folder);
    const copy = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
    const { token = '' } = copy;
    const { csrPem } = await newKeyRequest();
    const answers = await Promise.allSettled(
      Array.from({ length: 100 }, async () => await authority.joinSandbox(world.session, token, csrPem)),
    );
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('[R2] a token is good at its own session’s sidecar alone, and on no open route', async () => {
    const world = await gateway();
    const other = await GatewayWorld.start(authority);
    closers.push(() => other.close());
    const { csrPem } = await newKeyRequest();
    const token = async (): Promise<string> => await authority.createJoinToken(world.sandbox);
    await expect(authority.joinSandbox(other.session, await token(), csrPem)).rejects.toMatchObject({
      code: 'GB_TOKEN_INVALID',
    });
    await expect(authority.join(await token(), csrPem)).rejects.toMatchObject({ code: 'GB_TOKEN_INVALID' });
    // Control.
    const { serial } = await authority.joinSandbox(world.session, await token(), csrPem);
    await expect(authority.renewSandbox(other.session, serial, csrPem)).rejects.toMatchObject({
      code: 'GB_CALLER_MISMATCH',
    });
    await authority.renewSandbox(world.session, serial, csrPem);
  });

  it('[R2] init speaks to nobody but the sidecar of its session', async () => {
    const world = await gateway();
    const other = await GatewayWorld.start(authority);
    closers.push(() => other.close());
    const foreign = await TestAuthority.create();
    const wrong: Record<string, string>[] = [
      { gateway: `127.0.0.1:${other.gateway.port}` },
      { peer: other.sidecar.current().id },
      { bundle: foreign.bundlePem },
    ];
    for (const change of wrong) {
      const started = startInit(built.init, [await world.joinFile(built.folder, change)], false);
      expect(await started.ended, Object.keys(change)[0]).toBe(1);
      expect(started.stderr()).toContain('the gateway is not');
    }
    await linked(world);
  });

  it('[R4] its certificate is renewed on the link, at each half-life, and no stream breaks', async () => {
    const world = await gateway();
    const link = await linked(world);
    const bytes = randomBytes(4 << 20);
    link.start(['cat']);
    const stdin = await link.stream('main', 'stdin');
    const back = collect(await link.stream('main', 'stdout'));
    const first = await lastSerial(world);
    const pieces = 20;
    for (let renewal = 0; renewal < pieces; renewal += 1) {
      const before = await lastSerial(world);
      world.clock.advanceTo(world.clock.next ?? 0);
      stdin.write(bytes.subarray((renewal * bytes.length) / pieces, ((renewal + 1) * bytes.length) / pieces));
      await expect.poll(async () => await lastSerial(world), patience).not.toBe(before);
      // Proven, once the next one is due before this one's end.
      await expect.poll(() => (world.clock.next ?? 0) - world.clock.now(), patience).toBeLessThan(100_000);
    }
    // Control: what the link began with has ended, the link has not.
    expect(await lastSerial(world)).not.toBe(first);
    stdin.end();
    expect((await back).equals(bytes)).toBe(true);
    expect(world.refused).toEqual([]);
  });

  it('[R4] a link whose peer proves no renewed certificate ends with the old one', async () => {
    const world = await gateway();
    const link = await linked(world);
    link.started.child.kill('SIGSTOP');
    for (let turn = 0; turn < 4; turn += 1) world.clock.advanceTo(world.clock.next ?? 0);
    expect(await link.ended).toMatchObject({ reason: 'closed' });
  });

  it('[R4] a revoked sandbox loses its link at once, and cannot come back', async () => {
    const world = await gateway();
    const other = await GatewayWorld.start(authority);
    closers.push(() => other.close());
    const [link, kept] = [await linked(world), await linked(other)];
    const svid = await stolen(world);
    const second = new Promise((_, reject) =>
      setTimeout(() => reject(new Error('more than a second')), 1000).unref(),
    );
    await authority.revoke(world.sandbox);
    expect(await Promise.race([link.ended, second])).toMatchObject({ reason: 'closed' });
    expect(await dials(world, svid)).toBe(false);
    kept.start(['true']);
    expect(await kept.event('exited', 'main')).toMatchObject({ code: 0 });
  });

  it('[R4] a thief with key and certificate has no link, and a renewal of theirs ends the lineage', async () => {
    const world = await gateway();
    const svid = await stolen(world);
    await linked(world);
    // The link is taken, whoever asks.
    expect(await dials(world, svid)).toBe(false);
    expect(world.refused.at(-1)).toContain('a second link');
    const { csrPem } = await newKeyRequest();
    const { serial } = await authority.renewSandbox(world.session, svid.serial, csrPem);
    await expect(authority.renewSandbox(world.session, svid.serial, csrPem)).rejects.toMatchObject({
      code: 'GB_IDENTITY_REVOKED',
    });
    expect(world.connections.isRevoked(serial)).toBe(true);
  });

  const peers: readonly [string, Workload][] = [
    ['a sidecar', { kind: 'sidecar', session: newId() as never }],
    ['a provider', { kind: 'provider', domain: 'files', name: 'main' }],
    ['the control plane', { kind: 'control-plane', replica: 'local' }],
    ['another session’s sandbox', { kind: 'sandbox', session: newId() as never, sandbox: newId() as never }],
  ];
  it.each(peers)('[R2] the gateway does not take %s for its sandbox', async (_who, workload) => {
    const world = await gateway();
    const { keyPem, csrPem } = await newKeyRequest();
    const id = spiffeId(defaultTrustDomain, workload);
    const svid = checkedSvid(keyPem, await authority.issueOwn(id, csrPem), id);
    expect(
      await opens(
        world,
        clientTlsOptions(fixed(svid), () => true),
      ),
    ).toBe(false);
    expect(world.refused.at(-1)).toContain('not the gateway of');
    expect(
      await opens(
        world,
        clientTlsOptions(fixed(await stolen(world)), () => true),
      ),
    ).toBe(true);
  });

  it('[R2] nor a peer without a certificate, of another CA, or with another protocol', async () => {
    const world = await gateway();
    const { bundlePem } = world.sidecar.current();
    const anonymous = { ca: bundlePem, checkServerIdentity: () => undefined };
    expect(await opens(world, anonymous)).toBe(false);
    const foreign = await (await TestAuthority.create()).mint({ uris: [world.sandbox] });
    const imposter = { ...anonymous, key: foreign.keyPem, cert: foreign.chainPem };
    expect(await opens(world, imposter)).toBe(false);
    const good = clientTlsOptions(fixed(await stolen(world)), () => true);
    expect(await opens(world, { ...good, ALPNProtocols: ['http/1.1'] })).toBe(false);
    expect(await opens(world, { ...good, ALPNProtocols: ['glovebox-join'] })).toBe(false);
    expect(await opens(world, good)).toBe(true);
  });

  it('[R45] a join that does not come, and connections beyond the bound, are closed', async () => {
    const world = await gateway();
    const { bundlePem } = world.sidecar.current();
    const join = { ca: bundlePem, checkServerIdentity: () => undefined, ALPNProtocols: ['glovebox-join'] };
    for (const nonsense of ['{}\n', 'x'.repeat(70_000), '{"type":"renewal","csr":"","token":"x"}\n']) {
      const socket = connect({ host: '127.0.0.1', port: world.gateway.port, ...join });
      socket.on('error', () => undefined);
      await once(socket, 'secureConnect');
      socket.write(nonsense);
      await once(socket, 'close');
    }
    expect(world.refused).toHaveLength(3);
    await linked(world);
  });
});

/** The newest certificate that the CA made for the sandbox of that gateway. */
const lastSerial = (world: GatewayWorld): Promise<string> => Promise.resolve(world.serials.at(-1) ?? '');

async function dials(world: GatewayWorld, svid: SvidMaterial): Promise<boolean> {
  const socket = connect({
    host: '127.0.0.1',
    port: world.gateway.port,
    ALPNProtocols: ['h2'],
    ...clientTlsOptions(fixed(svid), () => true),
  });
  socket.on('error', () => undefined);
  closers.push(() => socket.destroy());
  return await new Promise((done) => {
    socket.once('data', () => done(true));
    socket.once('close', () => done(false));
  });
}
