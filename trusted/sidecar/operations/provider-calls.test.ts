import { expect, it } from 'vitest';
import { ProviderCalls } from './provider-calls.ts';

function world() {
  const answers: ((bytes: Uint8Array) => void)[] = [];
  const calls = new ProviderCalls({
    request: () => new Promise((resolve) => answers.push(resolve)),
    undelivered: () => true,
  });
  return { calls, answers };
}

it('[R42] a provider that ended ends the calls that it was given, and no other one’s', async () => {
  const { calls, answers } = world();
  const lost = [
    calls.request('files', 'read', new Uint8Array()),
    calls.request('files', 'write', new Uint8Array()),
  ];
  const kept = calls.request('graph', 'read', new Uint8Array());
  calls.gone('files');
  for (const call of lost) await expect(call).rejects.toMatchObject({ code: 'GB_PROVIDER_GONE' });
  answers[2]?.(new Uint8Array([7]));
  expect(await kept).toEqual(new Uint8Array([7]));
});

it('what was answered before, or is asked after, is not touched', async () => {
  const { calls, answers } = world();
  const before = calls.request('files', 'read', new Uint8Array());
  answers[0]?.(new Uint8Array([1]));
  expect(await before).toEqual(new Uint8Array([1]));
  calls.gone('files');
  const after = calls.request('files', 'read', new Uint8Array());
  answers[1]?.(new Uint8Array([2]));
  expect(await after).toEqual(new Uint8Array([2]));
});
