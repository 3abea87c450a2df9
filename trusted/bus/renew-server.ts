import { X509Certificate } from 'node:crypto';
import { GloveboxError } from '../../pure/contracts/index.ts';
import type { AuthCallout } from './callout-service.ts';
import { persist } from './persist.ts';
import type { NatsServer, Svid } from './server.ts';

/**
 * Gives the server its renewed certificate. nats-server takes one by reading its whole configuration anew, and then asks the
 * callout about every client again, one after the other; with nobody to answer it ends their connections. So the callout is
 * asked first whether it answers, and while it does not the server keeps the certificate that it has [R12].
 */
export async function renewServer(
  server: () => NatsServer,
  callout: Pick<AuthCallout, 'answers'>,
  svid: () => Svid,
): Promise<void> {
  await persist(
    async () => {
      if (!(await callout.answers()))
        throw new GloveboxError('GB_BUS_UNAVAILABLE', { detail: 'nobody answers the callout' });
      await server().rotate(svid());
    },
    () => Date.parse(new X509Certificate(svid().chainPem).validTo) > Date.now(),
  );
}
