import { X509Certificate } from 'node:crypto';
import type { RequestOptions } from 'node:https';
import type { PeerCertificate } from 'node:tls';
import type { z } from 'zod';
import {
  workloadRoutes,
  type SessionId,
  type SidecarBootstrap,
  type SpiffeId,
  type TrustDomain,
} from '../../pure/contracts/index.ts';
import { IdentityAgent, readSvid, SvidSource, type SvidAnswer } from '../identity/index.ts';
import { callJson } from './json-client.ts';

const whom = 'The control plane';
type Address = SidecarBootstrap['workloadApi'];
export type ConsentOrder = z.infer<typeof workloadRoutes.requestConsent.body>;
export type ConsentReceipt = z.infer<typeof workloadRoutes.requestConsent.response>;

/** This sidecar's own certificate: by its join token once, then by itself. Renewal dials with the certificate of that moment. */
export async function joinAs(
  expectedId: SpiffeId,
  trustDomain: TrustDomain,
  bootstrap: Pick<SidecarBootstrap, 'joinToken' | 'workloadApi' | 'bundlePem'>,
): Promise<SvidSource> {
  const { host, port } = bootstrap.workloadApi;
  const source: SvidSource = await SvidSource.start({
    expectedId,
    issue: (csr) =>
      callJson({
        host,
        port,
        whom,
        ...workloadRoutes.join,
        body: { token: bootstrap.joinToken, csr },
        tls: serverOnly(bootstrap.bundlePem, trustDomain),
      }),
    renew: async (csr, current): Promise<SvidAnswer> => {
      const agent = controlPlaneAgent({ current: () => current, onRotate: () => () => undefined });
      try {
        return await callJson({ host, port, whom, ...workloadRoutes.renew, body: { csr }, agent });
      } finally {
        agent.destroy();
      }
    },
  });
  return source;
}

/** We have no certificate yet; the server's is checked as later. */
const serverOnly = (bundlePem: string, trustDomain: TrustDomain): RequestOptions => ({
  ca: bundlePem,
  minVersion: 'TLSv1.3',
  rejectUnauthorized: true,
  checkServerIdentity: (_host: string, peer: PeerCertificate) => {
    const read = readSvid(new X509Certificate(peer.raw), 'server');
    if (!read.ok) return new Error(`the server has no identity: ${read.reason}`);
    const { identity } = read.value;
    return identity.kind === 'control-plane' && identity.trustDomain === trustDomain
      ? undefined
      : new Error(`the server is ${identity.id}, not the control plane`);
  },
});

const controlPlaneAgent = (source: ConstructorParameters<typeof IdentityAgent>[0]): IdentityAgent =>
  new IdentityAgent(source, (peer) => peer.kind === 'control-plane');

/** What a sidecar asks of the control plane, always for its own session. */
export class WorkloadClient {
  readonly #address: Address;
  readonly #session: SessionId;
  readonly #agent: IdentityAgent;

  constructor(address: Address, session: SessionId, source: SvidSource) {
    this.#address = address;
    this.#session = session;
    this.#agent = controlPlaneAgent(source);
  }

  requestConsent(order: ConsentOrder): Promise<ConsentReceipt> {
    return this.#post(workloadRoutes.requestConsent, order);
  }

  /** Once for each token, everywhere; returns the grant that the token became. */
  async consumeConsent(token: string): Promise<string> {
    return (await this.#post(workloadRoutes.consumeConsent, { token })).grantId;
  }

  async reportPolicyStatus(generation: number): Promise<void> {
    await this.#post(workloadRoutes.reportPolicyStatus, { generation });
  }

  close(): void {
    this.#agent.destroy();
  }

  #post<S extends z.ZodType>(
    route: { readonly path: string; readonly response: S },
    body: unknown,
  ): Promise<z.infer<S>> {
    return callJson({
      ...this.#address,
      whom,
      method: 'POST',
      path: route.path.replace(':session', this.#session),
      body,
      response: route.response,
      agent: this.#agent,
    });
  }
}
