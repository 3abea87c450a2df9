import { describe, expect, it } from 'vitest';
import { GloveboxError, limits } from '../../../pure/contracts/index.ts';
import type { ProviderPort } from './operations.ts';
import { waitingProvider } from './waiting-provider.ts';

const nobody = new GloveboxError('GB_UPSTREAM_FAILED', { what: 'files', detail: 'nobody serves it' });
const silent = new GloveboxError('GB_UPSTREAM_FAILED', { what: 'files', detail: 'no answer in time' });
const refused = new GloveboxError('GB_BUS_REFUSED', { operation: 'publish', subject: 'x' });
const answer = Buffer.from('ok');

function world(answers: readonly (GloveboxError | Buffer)[]): {
  readonly provider: ProviderPort;
  readonly asked: () => number;
  readonly waited: () => number;
} {
  let now = 0;
  let asked = 0;
  const inner: ProviderPort = {
    request: () => {
      const next = answers[Math.min(asked, answers.length - 1)] ?? answer;
      asked += 1;
      return next instanceof GloveboxError ? Promise.reject(next) : Promise.resolve(next);
    },
    undelivered: (error) => error === nobody || error === refused,
  };
  const delay = (ms: number): Promise<void> => {
    now += ms;
    return Promise.resolve();
  };
  return {
    provider: waitingProvider(inner, { now: () => now, delay }),
    asked: () => asked,
    waited: () => now,
  };
}

describe('a call to a provider that is not there yet', () => {
  it('is answered once the provider is', async () => {
    const { provider, asked } = world([nobody, nobody, answer]);
    expect(await provider.request('files', 'list', answer)).toBe(answer);
    expect(asked()).toBe(3);
  });
  it('[R45] fails after providerPresence, as undelivered', async () => {
    const { provider, waited } = world([nobody]);
    const failed = await provider.request('files', 'list', answer).catch((error: unknown) => error);
    expect(failed).toBe(nobody);
    expect(provider.undelivered(failed)).toBe(true);
    expect(waited()).toBe(limits.providerPresence.value);
  });
  it('[R42] is never sent again when its outcome is unknown', async () => {
    const { provider, asked } = world([silent, answer]);
    await expect(provider.request('files', 'write', answer)).rejects.toBe(silent);
    expect(asked()).toBe(1);
  });
  it('does not wait where the bus refuses it', async () => {
    const { provider, asked } = world([refused, answer]);
    await expect(provider.request('files', 'list', answer)).rejects.toBe(refused);
    expect(asked()).toBe(1);
  });
});
