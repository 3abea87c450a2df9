import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { attach, createOperatorClient, OperatorError, readErrorBody, readNdjson } from './index.ts';
import { fakeControlPlane, fakeSession, type FakeAttachment, type FakeControlPlane } from './testing.ts';

let fake: FakeControlPlane;
beforeEach(async () => {
  fake = await fakeControlPlane();
});
afterEach(() => fake.close());

describe('the operator client', () => {
  test('sends parameters, query and body where the registry has them', async () => {
    fake.on('applyChanges', () => ({ applied: ['a'], skipped: [] }));
    const client = createOperatorClient(fake.socketPath);
    const answer = await client.call('applyChanges', {
      params: { id: 'calm-fox' },
      body: { sensitive: ['x'] },
    });
    expect(answer).toEqual({ applied: ['a'], skipped: [] });
    expect(fake.calls[0]).toMatchObject({
      name: 'applyChanges',
      request: { params: { id: 'calm-fox' }, body: { sensitive: ['x'] } },
    });
  });

  test('an error keeps the words of the control plane', async () => {
    const error = { code: 'GB_POLICY_DENIED', what: 'No.', why: 'Rule.', todo: 'Ask.' };
    fake.on('listSessions', (_, res) => void res.writeHead(403).end(JSON.stringify({ error })));
    const failed = createOperatorClient(fake.socketPath).call('listSessions', {});
    await expect(failed).rejects.toBeInstanceOf(OperatorError);
    await expect(failed).rejects.toMatchObject({ body: { error }, status: 403, exitCode: 77 });
  });

  test('an answer that is none of ours is an error of the catalogue', async () => {
    fake.on('listSessions', (_, res) => void res.writeHead(200).end('<html>'));
    fake.on('health', (_, res) => void res.writeHead(500).end('oops'));
    const client = createOperatorClient(fake.socketPath);
    await expect(client.call('listSessions', {})).rejects.toMatchObject({ code: 'GB_UPSTREAM_FAILED' });
    await expect(client.call('health', {})).rejects.toMatchObject({ code: 'GB_UPSTREAM_FAILED' });
  });

  test('nobody at the socket means that Glovebox is not running', async () => {
    const client = createOperatorClient(`${fake.socketPath}.none`);
    await expect(client.call('health', {})).rejects.toMatchObject({
      code: 'GB_DAEMON_UNREACHABLE',
      exitCode: 69,
    });
  });

  test('events arrive one by one, and end with the signal', async () => {
    fake.on('events', (_, res) => {
      res.write('\n{"type":"denied","sessionId":"a","operation":"x","rule":"y"}\n{"type":"agent","ses');
      res.write('sionId":"a","kind":"progress","text":"é"}\n');
    });
    const stop = new AbortController();
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const event of await createOperatorClient(fake.socketPath).events('a', stop.signal)) {
        seen.push(event);
        if (seen.length === 2) stop.abort();
      }
    })();
    await reading;
    expect(seen).toEqual([
      { type: 'denied', sessionId: 'a', operation: 'x', rule: 'y' },
      { type: 'agent', sessionId: 'a', kind: 'progress', text: 'é' },
    ]);
  });
});

describe('lines of JSON', () => {
  const collect = async (chunks: readonly (string | Buffer)[], max?: number): Promise<unknown[]> => {
    const all: unknown[] = [];
    for await (const value of readNdjson(Readable.from(chunks.map((chunk) => Buffer.from(chunk))), max))
      all.push(value);
    return all;
  };
  test('a letter cut in two, blank lines and an end without a line feed are read', async () => {
    const letter = Buffer.from('"é"');
    expect(await collect([letter.subarray(0, 2), letter.subarray(2), '\n\n1\n2'])).toEqual(['é', 1, 2]);
  });
  test('a line that does not end is bounded', async () => {
    await expect(collect(['x'.repeat(20)], 10)).rejects.toMatchObject({ code: 'GB_LIMIT_REACHED' });
    expect(await collect(['"xxxxxx"\n'], 10)).toEqual(['xxxxxx']);
  });
});

test('only an error of the catalogue is read as one', () => {
  const error = { code: 'GB_INTERNAL', what: 'a', why: 'b', todo: 'c' };
  expect(readErrorBody(JSON.stringify({ error }))).toEqual({ error });
  for (const other of [
    '',
    '{}',
    '[]',
    '{"error":"x"}',
    JSON.stringify({ error: { ...error, code: 'toString' } }),
  ])
    expect(readErrorBody(other)).toBeUndefined();
});

describe('attach', () => {
  test('is silent until the sidecar has spoken, then carries commands, reports and streams', async () => {
    fake.on('getSession', () => fakeSession());
    const attached = new Promise<FakeAttachment>((resolve) => fake.onAttach(resolve));
    const attachment = await attach({ socketPath: fake.socketPath, sessionId: 'a', foreground: true });
    const sidecar = await attached;
    attachment.send({ type: 'resize', rows: 5, cols: 6 });
    expect(await sidecar.command('resize')).toEqual({ type: 'resize', rows: 5, cols: 6 });
    const terminal = attachment.stdio('terminal');
    terminal.write('typed');
    const far = await sidecar.stream('terminal');
    expect(String((await far[Symbol.asyncIterator]().next()).value)).toBe('typed');
    sidecar.say({ type: 'exited', code: 4, signal: null, reason: 'exited' });
    for await (const event of attachment.events) {
      expect(event).toEqual({ type: 'exited', code: 4, signal: null, reason: 'exited' });
      break;
    }
    attachment.close();
  });

  test('a refusal is the control plane’s error', async () => {
    fake.on('attachSession', () => undefined);
    await expect(
      attach({ socketPath: `${fake.socketPath}.none`, sessionId: 'a', foreground: true }),
    ).rejects.toMatchObject({ code: 'GB_DAEMON_UNREACHABLE' });
  });
});
