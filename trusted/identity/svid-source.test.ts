import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { limits, type SpiffeId } from '../../pure/contracts/index.ts';
import { newKeyRequest } from './key-request.ts';
import { SvidSource, type SvidSourceOptions } from './svid-source.ts';
import type { SvidAnswer } from './svid.ts';
import { TestAuthority, TestClock } from './testing.ts';

const id = 'spiffe://glovebox.local/session/aaaaaaaaaaaaaaaaaaaaaaaaaa/sidecar';
const lifetime = 300_000;
let authority: TestAuthority;
beforeAll(async () => {
  authority = await TestAuthority.create();
});

/** Certificates that begin on the clock's second. */
const issuer =
  (clock: TestClock, uri = id) =>
  (csrPem: string): Promise<SvidAnswer> => {
    const from = Math.floor(clock.now() / 1000) * 1000;
    return authority.answer(csrPem, {
      uris: [uri],
      notBefore: new Date(from),
      notAfter: new Date(from + lifetime),
    });
  };

async function begin(
  options: Partial<SvidSourceOptions> = {},
): Promise<{ clock: TestClock; source: SvidSource; from: number }> {
  const clock = new TestClock();
  const issue = issuer(clock);
  const source = await SvidSource.start({ issue, renew: issue, clock, random: () => 1, ...options });
  return { clock, source, from: source.current().notBefore.getTime() };
}

describe('an SVID source', () => {
  it('[R4] renews at half-life, with a new key, and tells', async () => {
    const { clock, source, from } = await begin();
    const first = source.current();
    const told = vi.fn();
    source.onRotate(told);
    expect(clock.next).toBe(from + lifetime / 2);
    clock.advanceTo(from + lifetime / 2 - 1);
    expect(source.current()).toBe(first);
    clock.advanceTo(from + lifetime / 2);
    await expect.poll(() => told).toHaveBeenCalledOnce();
    const second = source.current();
    expect(second.id).toBe(id);
    expect(second.serial).not.toBe(first.serial);
    expect(second.keyPem).not.toBe(first.keyPem);
    expect(second.notAfter > first.notAfter).toBe(true);
    expect(clock.next).toBe(second.notBefore.getTime() + lifetime / 2);
    source.close();
    expect(clock.next).toBeUndefined();
  });

  it('[R1] sends a request that names nobody', async () => {
    const seen: string[] = [];
    const clock = new TestClock();
    const issue = issuer(clock);
    const source = await SvidSource.start({
      clock,
      renew: issue,
      issue: (csrPem) => {
        seen.push(csrPem);
        return issue(csrPem);
      },
    });
    const text = Buffer.from(seen[0]!.replace(/-----[^-]+-----|\s/g, ''), 'base64').toString('latin1');
    expect(text).not.toContain('spiffe');
    expect(source.current().keyPem).toContain('PRIVATE KEY');
    source.close();
  });

  it('[R4] tries again after failures, and goes on when one succeeds', async () => {
    let failures = 3;
    const clock = new TestClock();
    const issue = issuer(clock);
    const renew = vi.fn((csrPem: string) => {
      failures -= 1;
      return failures >= 0 ? Promise.reject(new Error('away')) : issue(csrPem);
    });
    const { source, from } = await begin({ clock, issue, renew });
    const first = source.current();
    clock.advanceTo(from + lifetime / 2);
    for (const [attempt, pause] of [1, 2, 4].entries()) {
      await expect.poll(() => clock.next).toBe(clock.now() + pause * limits.renewalRetry.value);
      expect(renew).toHaveBeenCalledTimes(attempt + 1);
      expect(source.current()).toBe(first);
      clock.advanceTo(clock.next!);
    }
    await expect.poll(() => source.current().serial).not.toBe(first.serial);
    expect(renew).toHaveBeenCalledTimes(4);
    source.close();
  });

  it('[R4] has no certificate any more once it ended unrenewed', async () => {
    const { clock, source, from } = await begin({ renew: () => Promise.reject(new Error('away')) });
    const ended = vi.fn();
    source.onEnd(ended);
    expect(source.current().id).toBe(id);
    const end = from + lifetime;
    while (clock.now() < end) {
      await expect.poll(() => clock.next).toBeGreaterThan(clock.now());
      expect(clock.next).toBeLessThanOrEqual(end);
      clock.advanceTo(clock.next!);
    }
    expect(() => source.current()).toThrow('GB_IDENTITY_REFUSED');
    expect(ended).toHaveBeenCalledOnce();
    expect(clock.next).toBeUndefined();
  });

  it('[R4] a clock that jumps past the end fails closed at once', async () => {
    const { clock, source, from } = await begin();
    expect(source.current().id).toBe(id);
    clock.advanceTo(from + lifetime + 1);
    expect(() => source.current()).toThrow('GB_IDENTITY_REFUSED');
  });

  it('a closed source answers nothing', async () => {
    const { source } = await begin();
    source.close();
    expect(() => source.current()).toThrow('GB_IDENTITY_REFUSED');
  });

  describe('does not take', () => {
    const clock = new TestClock();
    const start = (
      issue: (csrPem: string) => Promise<SvidAnswer>,
      expectedId = id as SpiffeId,
    ): Promise<SvidSource> => SvidSource.start({ issue, renew: issue, clock, expectedId });

    it('(but takes a good one)', async () => {
      const source = await start(issuer(clock));
      expect(new X509Certificate(source.current().chainPem).subjectAltName).toBe(`URI:${id}`);
      source.close();
    });
    it('[R1] a certificate for another key', async () => {
      const other = await newKeyRequest();
      await expect(start(() => issuer(clock)(other.csrPem))).rejects.toThrow('GB_IDENTITY_REFUSED');
    });
    it('[R1] a certificate of another identity', async () => {
      await expect(start(issuer(clock, 'spiffe://glovebox.local/signer'))).rejects.toThrow(
        'GB_IDENTITY_REFUSED',
      );
    });
    it('[R1] a certificate that the bundle did not sign', async () => {
      const { bundlePem } = await TestAuthority.create();
      const issue = async (csrPem: string): Promise<SvidAnswer> => ({
        ...(await issuer(clock)(csrPem)),
        bundlePem,
      });
      await expect(start(issue)).rejects.toThrow('GB_IDENTITY_REFUSED');
    });
    it('[R1] another identity at renewal', async () => {
      const renew = vi.fn(issuer(clock, 'spiffe://glovebox.local/signer'));
      const source = await SvidSource.start({ issue: issuer(clock), renew, clock, random: () => 1 });
      const first = source.current();
      clock.advanceTo(first.notBefore.getTime() + lifetime / 2);
      await expect.poll(() => clock.next).toBe(clock.now() + limits.renewalRetry.value);
      expect(renew).toHaveBeenCalledOnce();
      expect(source.current()).toBe(first);
      source.close();
    });
  });
});
