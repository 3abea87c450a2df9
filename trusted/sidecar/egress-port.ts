import type { Duplex } from 'node:stream';
import type { GrantId, Secret, SidecarPolicy } from '../../pure/contracts/index.ts';
import type { OperationTrail } from './operation-trail.ts';
import type { HostCertificate } from './session-authority.ts';
import type { Stamp } from './turns.ts';

/** What the egress proxy is given; trusted/egress makes one, and knows no more of the sidecar than this. */
export interface EgressOptions {
  readonly policy: Pick<SidecarPolicy, 'egress' | 'placeholders'>;
  /** The open turn, to be asked once for each request, when it arrives. Null: no user, so nothing with an effect. */
  readonly stamp: () => Stamp | null;
  readonly trail: OperationTrail;
  /** Spends a grant for a scope that the policy says to ask for; null: GB_CONSENT_REQUIRED. */
  readonly takeGrant: (stamp: Stamp, scope: string, argsHash: string) => GrantId | null;
  /** A secret's value for one call; `intentSequence` is where the call's intent is stored. Not to be kept. */
  readonly readSecret: (name: string, intentSequence: number) => Promise<Secret>;
  /** A certificate by the session's own authority, for a host that the policy lets through. */
  readonly certificateFor: (host: string) => Promise<HostCertificate>;
  /** All addresses of a name. Checking and pinning is the proxy's. */
  readonly resolve: (host: string) => Promise<readonly string[]>;
}

export interface EgressProxy {
  handle(connection: Duplex): void;
  close(): void;
}

export type CreateEgress = (options: EgressOptions) => EgressProxy;

/** Without a proxy there is no way out: every request is answered with 403 and the connection is closed. */
export const closedEgress: CreateEgress = () => {
  const open = new Set<Duplex>();
  const body = '{"error":{"code":"GB_POLICY_DENIED","what":"Refused: this gateway has no way out."}}\n';
  const answer = `HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`;
  return {
    handle(connection) {
      open.add(connection);
      connection.on('error', () => undefined);
      connection.once('close', () => open.delete(connection));
      connection.resume();
      connection.end(answer);
    },
    close() {
      for (const connection of open) connection.destroy();
    },
  };
};
