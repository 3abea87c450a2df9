import type { CredentialUse, PolicyDocument } from '../contracts/index.ts';

/** What a session's rules put its secrets into: the secret broker holds what it signs or asks for against this. */
export const credentialUses = (document: Pick<PolicyDocument, 'egress'>): readonly CredentialUse[] =>
  document.egress.flatMap(({ credential, host, port, methods, paths, grpc }) =>
    credential === undefined
      ? []
      : [
          {
            host,
            port,
            ...(grpc === undefined
              ? { methods, paths }
              : { methods: ['POST'], paths: grpc.map((method) => `/${method}`) }),
            ...credential,
          },
        ],
  );
