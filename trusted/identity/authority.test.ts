import { beforeEach, describe, expect, it } from 'vitest';
import {
  defaultTrustDomain,
  encodeId,
  asSessionId,
  limits,
  identityOf,
  spiffeId,
  GloveboxError,
  type WorkloadCaller,
} from '../../pure/contracts/index.ts';
import { IdentityAuthority, type SvidIssuer } from './authority.ts';
import { JoinTokens } from './join-tokens.ts';
import { MemoryIdentityStore } from './memory-store.ts';
import type { IssuedIdentity } from './authority.ts';

const session = asSessionId(encodeId(new Uint8Array(16)));
const id = spiffeId(defaultTrustDomain, { kind: 'sidecar', session });
const bus = spiffeId(defaultTrustDomain, { kind: 'bus', server: 'main' });
const lifetime = 300_000;

let now: number;
let store: MemoryIdentityStore;
let authority: IdentityAuthority;
let orders: { spiffeId: string; dnsNames?: readonly string[] }[];
let revoked: string[];
let signing: () => Promise<void>;

beforeEach(() => {
  now = 1_000_000;
  orders = [];
  revoked = [];
  signing = async () => undefined;
  store = new MemoryIdentityStore();
  const signer: SvidIssuer = {
    issueSvid: async (order) => {
      orders.push(order);
      await signing();
      const serial = orders.length.toString(16).padStart(4, '0');
      return { chainPem: `chain of ${serial}`, serial, notAfter: new Date(now + lifetime) };
    },
    bundle: async () => 'bundle',
  };
  authority = new IdentityAuthority({ signer, store, now: () => now });
  authority.onRevoked((serials) => revoked.push(...serials));
});

const asCaller = (issued: IssuedIdentity, of = id): WorkloadCaller =>
  ({
    kind: 'workload',
    identity: identityOf(of),
    serial: issued.serial,
    notAfter: issued.notAfter,
  }) as WorkloadCaller;
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof GloveboxError ? error.code : String(error)),
  );
const join = async (): Promise<IssuedIdentity> => authority.join(await authority.createJoinToken(id), 'csr');

describe('joining', () => {
  it('[R1] gives the identity that the token is bound to', async () => {
    const issued = await join();
    expect(issued).toMatchObject({ chainPem: 'chain of 0001', bundlePem: 'bundle', serial: '0001' });
    expect(orders).toMatchObject([{ spiffeId: id, dnsNames: [] }]);
  });

  it('[R6] works once: a replay is 409 and issues nothing', async () => {
    const token = await authority.createJoinToken(id);
    await authority.join(token, 'csr');
    const error = await authority.join(token, 'csr').catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'GB_TOKEN_REPLAYED', status: 409 });
    expect(orders).toHaveLength(1);
  });

  it('[R6] of 100 that race with one token exactly one joins', async () => {
    const token = await authority.createJoinToken(id);
    const codes = await Promise.all(Array.from({ length: 100 }, () => codeOf(authority.join(token, 'csr'))));
    expect(codes.filter((code) => code === 'done')).toHaveLength(1);
    expect(codes.filter((code) => code === 'GB_TOKEN_REPLAYED')).toHaveLength(99);
    expect(orders).toHaveLength(1);
  });

  it('[R6] a token ends after a minute, and cannot be made to live longer', async () => {
    const [early, late] = [await authority.createJoinToken(id), await authority.createJoinToken(id)];
    now += limits.joinTokenLifetime.value - 1;
    expect(await codeOf(authority.join(early, 'csr'))).toBe('done');
    now += 1;
    expect(await codeOf(authority.join(late, 'csr'))).toBe('GB_TOKEN_INVALID');
    expect(limits.joinTokenLifetime.value).toBeLessThanOrEqual(60_000);
    const tokens = new JoinTokens(store, () => now);
    const [greedy, modest] = [await tokens.create(id, 3_600_000), await tokens.create(id, 1000)];
    now += 1000;
    expect(await codeOf(tokens.consume(modest))).toBe('GB_TOKEN_INVALID');
    now += limits.joinTokenLifetime.value - 1000;
    expect(await codeOf(tokens.consume(greedy))).toBe('GB_TOKEN_INVALID');
  });

  it('[R6] a token is 256 random bits, and the store knows its hash only', async () => {
    const stored: string[] = [];
    const insert = store.insertHash.bind(store);
    store.insertHash = (hash, binding) => {
      stored.push(hash, JSON.stringify(binding));
      return insert(hash, binding);
    };
    const token = await authority.createJoinToken(id);
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    expect(stored.join()).not.toContain(token);
    expect(stored[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each(['', 'x'.repeat(43), 'x'.repeat(10_000), `${'x'.repeat(42)}\n`, '../../../../etc/passwd'])(
    '[R6] a made-up token is refused: %j',
    async (token) => {
      expect(await codeOf(authority.join(token, 'csr'))).toBe('GB_TOKEN_INVALID');
      expect(orders).toHaveLength(0);
    },
  );

  it('gives localhost to servers only', async () => {
    await authority.issueOwn(bus, 'csr');
    await join();
    expect(orders.map(({ dnsNames }) => dnsNames)).toEqual([['localhost'], []]);
  });
});

describe('renewing', () => {
  it('[R4] goes on from serial to serial', async () => {
    let current = await join();
    for (let i = 0; i < 5; i += 1) {
      now += lifetime / 2;
      current = await authority.renew(asCaller(current), 'csr');
    }
    expect(orders).toHaveLength(6);
    expect(revoked).toEqual([]);
  });

  it('[R4] a second renewal of a serial revokes the whole lineage, the thief\u2019s part too', async () => {
    const first = await join();
    const stolen = await authority.renew(asCaller(first), 'csr of a thief');
    expect(await codeOf(authority.renew(asCaller(first), 'csr'))).toBe('GB_IDENTITY_REVOKED');
    expect(revoked.sort()).toEqual([first.serial, stolen.serial]);
    expect(await codeOf(authority.renew(asCaller(stolen), 'csr'))).toBe('GB_IDENTITY_REVOKED');
    expect(orders).toHaveLength(2);
    expect(await authority.revokedSerials()).toEqual([first.serial, stolen.serial]);
    // A new start of the same workload is another lineage.
    const again = await join();
    expect(await codeOf(authority.renew(asCaller(again), 'csr'))).toBe('done');
  });

  it('[R4] of two that race at most one is given out, and the lineage ends', async () => {
    const first = await join();
    let release: () => void = () => undefined;
    const both = new Promise<void>((resolve) => (release = resolve));
    signing = () => {
      if (orders.length === 3) release();
      return both;
    };
    const codes = await Promise.all(['a', 'b'].map((csr) => codeOf(authority.renew(asCaller(first), csr))));
    expect(codes.sort()).toEqual(['GB_IDENTITY_REVOKED', 'done']);
    expect(new Set(revoked)).toEqual(new Set([first.serial, '0003']));
    expect((await store.revokedSerials(now)).length).toBeGreaterThanOrEqual(2);
  });

  it('[R4] a signer that fails uses nothing up', async () => {
    const first = await join();
    signing = () => Promise.reject(new Error('away'));
    await expect(authority.renew(asCaller(first), 'csr')).rejects.toThrow('away');
    signing = async () => undefined;
    expect(await codeOf(authority.renew(asCaller(first), 'csr'))).toBe('done');
    expect(revoked).toEqual([]);
  });

  it('[R4] over another channel than the first is refused and revokes the lineage', async () => {
    const first = await join();
    expect(await codeOf(authority.renew(asCaller(first), 'csr', 'in-process'))).toBe('GB_IDENTITY_REVOKED');
    expect(revoked).toEqual([first.serial]);
    const again = await join();
    expect(await codeOf(authority.renew(asCaller(again), 'csr', 'workload-api'))).toBe('done');
  });

  it('[R2] a serial of another identity renews nothing', async () => {
    const first = await join();
    expect(await codeOf(authority.renew(asCaller(first, bus), 'csr'))).toBe('GB_IDENTITY_REVOKED');
    expect(revoked).toEqual([]);
    expect(await codeOf(authority.renew(asCaller(first), 'csr'))).toBe('done');
  });
});

describe('revoking', () => {
  it('[R4] an identity ends all its certificates and its tokens, and nobody else\u2019s', async () => {
    const [one, two] = [await join(), await join()];
    const other = await authority.issueOwn(bus, 'csr');
    const token = await authority.createJoinToken(id);
    expect(await authority.revoke(id)).toEqual([one.serial, two.serial]);
    expect(revoked).toEqual([one.serial, two.serial]);
    expect(await codeOf(authority.renew(asCaller(one), 'csr'))).toBe('GB_IDENTITY_REVOKED');
    expect(await codeOf(authority.join(token, 'csr'))).toBe('GB_TOKEN_REPLAYED');
    expect(await codeOf(authority.renew(asCaller(other, bus), 'csr', 'in-process'))).toBe('done');
  });

  it('[R4] reaches an identity whose first certificate is just being signed', async () => {
    const token = await authority.createJoinToken(id);
    signing = async () => {
      await authority.revoke(id);
    };
    expect(await codeOf(authority.join(token, 'csr'))).toBe('GB_IDENTITY_REVOKED');
    signing = async () => undefined;
    expect(await codeOf(join())).toBe('done');
  });

  it('[R4] reaches an identity whose renewal is just being signed', async () => {
    const first = await join();
    signing = async () => {
      await authority.revoke(id);
    };
    expect(await codeOf(authority.renew(asCaller(first), 'csr'))).toBe('GB_IDENTITY_REVOKED');
    expect(revoked).toContain(first.serial);
  });

  it('[R4] what another replica revoked is told here once, and what this one revoked is not told again', async () => {
    const [one, two] = [await join(), await join()];
    await authority.revoke(bus);
    await store.revokeLineage((await store.findSerial(one.serial))?.lineage ?? '', now);
    await authority.readRevocations();
    await authority.readRevocations();
    expect(revoked).toEqual([one.serial]);
    await authority.revoke(id);
    await authority.readRevocations();
    expect(revoked.filter((serial) => serial === two.serial)).toHaveLength(1);
  });
});
