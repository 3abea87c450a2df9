import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { asUserId, GloveboxError, policyDocument, type SessionId } from '../../../pure/contracts/index.ts';
import { newborn } from '../../../pure/session/index.ts';
import { openSqliteStore } from '../../store/index.ts';
import { randomIds } from '../random-ids.ts';
import { SessionService, type SessionServiceOptions } from './session-service.ts';

it('[R42] what a session left open when nothing could be written down is settled at the next start, once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'glovebox-settle-'));
  const store = await openSqliteStore(join(folder, 'db'));
  const settled: SessionId[] = [];
  let down = true;
  const recover = async (): Promise<number> =>
    await new SessionService({
      store,
      replica: 'one',
      audit: {
        record: () =>
          down
            ? Promise.reject(new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: 'down' }))
            : Promise.resolve(7),
      },
      settleIntents: async (session: SessionId, sequence: number) => {
        expect(sequence).toBe(7);
        settled.push(session);
      },
    } as unknown as SessionServiceOptions).recover();
  const insert = async (name: string, done: boolean): Promise<SessionId> => {
    const { id } = await store.sessions.insert(
      {
        id: randomIds.session(),
        sandboxId: randomIds.sandbox(),
        name,
        replica: 'one',
        command: ['true'],
        workspace: '/w',
        workspaceMode: 'staged',
        tier: 'standard',
        user: asUserId('local/1000'),
        preset: null,
        terminal: false,
        createdAt: new Date(0).toISOString(),
        expiresAt: new Date(1e7).toISOString(),
        policy: policyDocument.parse({ version: 1 }),
        secrets: [],
      },
      { ...newborn, state: 'ended', reason: 'exited' },
    );
    if (done) await store.sessions.note(id, { settled: true });
    return id;
  };
  await insert('done', true);
  const open = await insert('open', false);
  await expect(recover()).rejects.toMatchObject({ code: 'GB_AUDIT_UNAVAILABLE' });
  expect((await store.sessions.unsettled('one')).map(({ id }) => id)).toEqual([open]);
  down = false;
  await recover();
  await recover();
  expect(settled).toEqual([open]);
  await store.close();
  rmSync(folder, { recursive: true });
});
