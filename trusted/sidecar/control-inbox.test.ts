import { beforeEach, describe, expect, it } from 'vitest';
import type { ControlMessage } from '../../pure/contracts/index.ts';
import { ControlInbox } from './control-inbox.ts';
import { alice, nextId, session, testSigner, turn, type TestSigner } from './testing.ts';

let signer: TestSigner;
let heeded: ControlMessage[];
let inbox: ControlInbox;
beforeEach(async () => {
  signer = await testSigner();
  heeded = [];
  inbox = new ControlInbox({
    session,
    verify: (token) => signer.verifier.verify('control', token),
    handle: (message) => heeded.push(message),
  });
});

const message = (seq: number, other: object = {}): object => ({
  session_id: session,
  seq,
  iat: 1,
  type: 'turn-open',
  turn_id: turn,
  user: alice,
  expires_at: 2_000_000_000,
  once_only: false,
  ...other,
});
const receive = async (payload: object, as?: Parameters<TestSigner['sign']>[2]): Promise<void> =>
  await inbox.receive(Buffer.from(await signer.sign('control', payload, as)));

describe('words of the control plane', () => {
  it('[R9] are heeded when signed for this session, each with a higher number', async () => {
    await receive(message(1));
    await receive(message(5));
    expect(heeded.map(({ seq }) => seq)).toEqual([1, 5]);
    expect(inbox.dropped).toBe(0);
  });

  it('[R9] a replay, an older one and another session’s are dropped and counted', async () => {
    await receive(message(5));
    await receive(message(5));
    await receive(message(4));
    await receive(message(6, { session_id: nextId() }));
    expect(heeded).toHaveLength(1);
    expect(inbox.dropped).toBe(3);
    await receive(message(6));
    expect(heeded).toHaveLength(2);
  });

  it('[R9] what is not signed as such is dropped', async () => {
    await inbox.receive(Buffer.from(JSON.stringify(message(1))));
    await inbox.receive(Buffer.from('a provider’s answer'));
    await inbox.receive(Buffer.from(await signer.sign('consent', message(1))));
    await receive(message(1), { typ: 'glovebox-consent+jwt' });
    await receive(message(1, { type: 'other' }));
    await receive(message(1, { extra: true }));
    expect(heeded).toEqual([]);
    expect(inbox.dropped).toBe(6);
  });

  it('[R2] a policy is one of them: signed for this session and in its turn, or dropped', async () => {
    const policy = { generation: 2, cedar: '', egress: [], tools: { allow: [], ask: [] }, placeholders: {} };
    const words = { session_id: session, iat: 1, type: 'policy', policy };
    await inbox.receive(Buffer.from(JSON.stringify({ ...words, seq: 3 })));
    await inbox.receive(Buffer.from(await signer.sign('consent', { ...words, seq: 3 })));
    await receive({ ...words, seq: 3, session_id: nextId() });
    await receive({ ...words, seq: 3, policy: { ...policy, floor: 'off' } });
    await receive({ ...words, seq: 3, policy: { ...policy, generation: 'next' } });
    expect([heeded, inbox.dropped]).toEqual([[], 5]);
    await receive({ ...words, seq: 3 });
    await receive({ ...words, seq: 2 });
    expect(heeded).toEqual([{ ...words, seq: 3 }]);
  });

  it('keeps their order, and drops a flood beyond what may wait', async () => {
    const tokens = await Promise.all(
      Array.from({ length: 300 }, (_, index) => signer.sign('control', message(index + 1))),
    );
    await Promise.all(tokens.map((token) => inbox.receive(Buffer.from(token))));
    expect(heeded.map(({ seq }) => seq)).toEqual(Array.from({ length: 256 }, (_, index) => index + 1));
    expect(inbox.dropped).toBe(44);
  });
});
