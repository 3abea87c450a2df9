import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultTrustDomain, eventsSubject, type SessionId } from '../../pure/contracts/index.ts';
import { BusConnection, type Svid } from '../bus/index.ts';
import { identityFor, newSessionId, startTestBus, type TestBus } from '../bus/testing.ts';
import { SignerClient } from '../signer/index.ts';
import { bundleSigner } from '../signer/testing.ts';
import { startSigner, type SupervisedSigner } from './signing.ts';

const folder = mkdtempSync(join(tmpdir(), 'glovebox-signing-'));
const keysFolder = join(folder, 'keys');
let signer: SupervisedSigner;
let bus: TestBus;
const log: string[] = [];
beforeAll(async () => {
  signer = await startSigner({
    entry: await bundleSigner(folder),
    keysFolder,
    trustDomain: defaultTrustDomain,
    log: (message) => log.push(message),
  });
  bus = await startTestBus({ decides: { keys: await signer.busKeys(), authorizer: signer.busAuthorizer } });
});
afterAll(async () => {
  await bus.close();
  await signer.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Sidecar = { readonly kind: 'sidecar'; readonly session: SessionId };
const sidecar = (): Sidecar => ({ kind: 'sidecar', session: newSessionId() });
const serialOf = (svid: Svid): string => new X509Certificate(svid.chainPem).serialNumber.toLowerCase();

/** Says something that only this identity may say, so that it was let in as itself. */
async function enters(workload: Sidecar, svid: Svid): Promise<void> {
  const connection = await BusConnection.connect({
    address: bus.server,
    svid,
    identity: identityFor(workload),
  });
  try {
    await connection.publish(eventsSubject(workload.session), 'x');
  } finally {
    await connection.close();
  }
}
const refused = { code: 'GB_BUS_UNAVAILABLE' };

describe('whom the bus lets in is signed by the signer', () => {
  it('[R5] [R12] a sidecar, as itself; an identity without business there is refused', async () => {
    const one = sidecar();
    await enters(one, await bus.ca.issue(one));
    await expect(bus.connect({ kind: 'signer' })).rejects.toThrow();
  });

  it('[R5] the seeds are the signer’s: in files of its own, and nothing that it says has one', async () => {
    const seeds = readdirSync(keysFolder).filter((name) => name.endsWith('.seed'));
    expect(seeds).toHaveLength(2);
    const said = JSON.stringify(await signer.busKeys());
    for (const name of seeds) {
      expect(statSync(join(keysFolder, name)).mode & 0o777).toBe(0o600);
      const seed = readFileSync(join(keysFolder, name), 'utf8').trim();
      expect(seed).toMatch(/^S[AX]/);
      expect(said).not.toContain(seed);
    }
  });

  it('[R4] a revoked serial is refused with the next question; another certificate of the same identity is not', async () => {
    const victim = sidecar();
    const [bad, good] = [await bus.ca.issue(victim), await bus.ca.issue(victim)];
    await enters(victim, bad);
    signer.revoked([serialOf(bad)]);
    await expect(enters(victim, bad)).rejects.toMatchObject(refused);
    await enters(victim, good);
  });

  it('[R4] a question that leaves revocations out is not answered', async () => {
    const entry = join(folder, 'signer.mjs');
    const alone = await SignerClient.start({
      entry,
      keysFolder: join(folder, 'other-keys'),
      trustDomain: defaultTrustDomain,
    });
    let from = 0;
    const authorizer = {
      answer: async (sealed: Uint8Array, xkey: string) =>
        await alone.authorizeBus(sealed, xkey, { from, serials: [] }),
    };
    const other = await startTestBus({ decides: { keys: await alone.busKeys(), authorizer } });
    try {
      await (await other.connect(sidecar())).close();
      from = 1;
      await expect(other.connect(sidecar())).rejects.toMatchObject(refused);
    } finally {
      await other.close();
      await alone.close();
    }
  });

  it('[R46] [R4] without the signer nobody gets in; the next one is believed, and knows who was revoked before', async () => {
    const [inside, outside, revoked] = [sidecar(), sidecar(), sidecar()];
    const bad = await bus.ca.issue(revoked);
    const connection = await bus.connect(inside);
    signer.revoked([serialOf(bad)]);
    const before = signer.pid ?? 0;
    process.kill(before, 'SIGSTOP');
    // Asked for while nobody can sign: it waits for the next signer, or is refused in time.
    const waiting = enters(outside, await bus.ca.issue(outside)).then(
      () => {
        expect(signer.pid).not.toBe(before);
      },
      (error: unknown) => {
        expect(error).toMatchObject(refused);
      },
    );
    process.kill(before, 'SIGKILL');
    await waiting;
    await expect.poll(() => signer.pid).not.toBe(before);
    await enters(outside, await bus.ca.issue(outside));
    await expect(enters(revoked, bad)).rejects.toMatchObject(refused);
    await connection.publish(eventsSubject(inside.session), 'x');
  });
});
