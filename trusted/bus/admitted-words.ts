import { z } from 'zod';
import { identityOf, parseIdentity, type SpiffeId } from '../../pure/contracts/index.ts';
import type { Entry } from './admitted.ts';

const word = z.strictObject({
  client: z.strictObject({ server: z.string(), connection: z.int() }),
  id: z.string().refine((text) => parseIdentity(text).ok),
  serial: z.string(),
  notBefore: z.iso.datetime(),
  notAfter: z.iso.datetime(),
});

export function writeEntry({ client, certificate }: Entry): string {
  const { identity, serial, notBefore, notAfter } = certificate;
  return JSON.stringify({
    client: { server: client.server, connection: client.connection },
    id: identity.id,
    serial,
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
  });
}

/** Undefined: it is none, and changes nothing. */
export function readEntry(data: Uint8Array): Entry | undefined {
  let given: unknown;
  try {
    given = JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
  const parsed = word.safeParse(given);
  if (!parsed.success) return undefined;
  const { client, id, serial, notBefore, notAfter } = parsed.data;
  return {
    allowed: true,
    client,
    certificate: {
      identity: identityOf(id as SpiffeId),
      serial,
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
    },
  };
}
