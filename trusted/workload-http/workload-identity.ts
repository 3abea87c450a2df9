import { workloadRoutes, type SpiffeId, type TrustDomain } from '../../pure/contracts/index.ts';
import { SvidSource, type SvidMaterial } from '../identity/index.ts';
import { RouteClient, type RouteAddress } from './route-client.ts';

export interface JoinOptions {
  readonly workloadApi: RouteAddress;
  readonly joinToken: string;
  readonly bundlePem: string;
  readonly trustDomain: TrustDomain;
  readonly expectedId: SpiffeId;
}

/** The identity of a part that joins by token over the workload API, and renews there by its own certificate. */
export async function joinWorkload(options: JoinOptions): Promise<SvidSource> {
  const address = (): RouteAddress => options.workloadApi;
  const { bundlePem, trustDomain, joinToken, expectedId } = options;
  return await SvidSource.start({
    expectedId,
    issue: async (csr) => {
      const client = RouteClient.anonymous(workloadRoutes, address, bundlePem, trustDomain, 'control-plane');
      try {
        return await client.call('join', { body: { token: joinToken, csr } });
      } finally {
        client.close();
      }
    },
    renew: async (csr, current) => {
      // A connection of the certificate that is to be renewed: the channel that attested it (R4).
      const client = RouteClient.withIdentity(workloadRoutes, address, fixed(current), 'control-plane');
      try {
        return await client.call('renew', { body: { csr } });
      } finally {
        client.close();
      }
    },
  });
}

const fixed = (svid: SvidMaterial) => ({ current: () => svid, onRotate: () => () => undefined });
