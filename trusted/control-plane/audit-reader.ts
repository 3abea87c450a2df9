import { retainOperation } from '../../pure/verify/index.ts';
import { exportAudit, query, retainAudit } from '../audit/index.ts';
import type { Ground } from './ground.ts';
import type { AuditReader } from './ports.ts';

/** The trail, for a person. */
export function auditReader(ground: Ground): AuditReader {
  const { store, auditWriter } = ground;
  return {
    query: async ({ session, limit, after }) => {
      // A person who asks for a few records means the newest ones.
      const found = await query(store.audit, {
        ...(session === undefined ? {} : { session }),
        limit,
        ...(after === undefined ? { newest: true } : { afterSeq: after }),
      });
      return found.map((one) => ({ ...one }));
    },
    retain: async (before, user) =>
      await retainAudit(
        {
          writer: auditWriter,
          store: store.audit,
          record: async (detail) => {
            const order = {
              session: 'system',
              operation: retainOperation,
              decision: 'allow',
              rule: 'operator',
            } as const;
            await auditWriter.caughtUp(await ground.audit.record({ ...order, detail, user }));
          },
        },
        before,
      ),
    export: async function* (session) {
      for (const line of await exportAudit(auditWriter, store.audit, session)) yield `${line}\n`;
    },
  };
}
