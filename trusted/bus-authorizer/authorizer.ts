import { X509Certificate } from 'node:crypto';
import { decode, encodeAuthorizationResponse, encodeUser } from '@nats-io/jwt';
import { z } from 'zod';
import {
  limits,
  permissionsFor,
  usesBus,
  type Identity,
  type TrustDomain,
} from '../../pure/contracts/index.ts';
import {
  alreadyClosed,
  type BusAnswer,
  type BusAuthorizer,
  type BusDecision,
  type CertificateIdentity,
} from '../bus/index.ts';
import { readSvid } from '../identity/index.ts';
import { pairOf, signingPair, type AuthorizerKeys } from './keys.ts';

/** The account in which all work happens (trusted/bus/server-config.ts). */
const account = 'GB';

/** Enough to answer at all. */
const addressed = z.object({
  nats: z.object({ server_id: z.object({ id: z.string() }), user_nkey: z.string() }),
});

/** What of the server's question decides. Unknown members are ignored; a missing one denies. */
const question = z.object({
  aud: z.literal('nats-authorization-request'),
  iss: z.string(),
  exp: z.number(),
  nats: z.object({
    server_id: z.object({ id: z.string(), name: z.string() }),
    user_nkey: z.string(),
    client_info: z.object({ id: z.int().min(1), kind: z.literal('Client'), type: z.literal('nats') }),
    connect_opts: z.object({
      jwt: z.string().max(0).optional(),
      nkey: z.string().max(0).optional(),
      sig: z.string().max(0).optional(),
      auth_token: z.string().max(0).optional(),
      user: z.string().max(0).optional(),
      pass: z.string().max(0).optional(),
    }),
    client_tls: z.object({ verified_chains: z.array(z.array(z.string()).min(1)).min(1) }),
  }),
});

/**
 * Asked about at a reload while its end was closing: the server has forgotten its TLS. Nobody else is without, since the
 * server speaks to nobody before the handshake.
 */
const closing = z.object({ nats: z.object({ client_tls: z.undefined() }) });

export interface AuthorizerOptions {
  readonly keys: AuthorizerKeys;
  readonly trustDomain: TrustDomain;
  readonly isRevoked: (serial: string, identity: Identity) => boolean | Promise<boolean>;
  readonly now: () => Date;
  /** Told of every answer; `reason` is for the log, the client sees "Authorization Violation" only. */
  readonly onDecision?: (decision: BusDecision) => void;
}

export function createAuthorizer(options: AuthorizerOptions): BusAuthorizer {
  const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
  const curve = pairOf(options.keys.xkey);
  const issuer = signingPair(options.keys.issuer);
  return {
    answer: async (sealed, serverXkey) => {
      const opened = curve.open(sealed, serverXkey);
      if (opened === null) return unanswered(options, 'not sealed to this authorizer');
      // `decode` verifies the signature by the server's own key.
      const claims = decode(new TextDecoder().decode(opened));
      const to = addressed.safeParse(claims);
      if (!to.success || claims.iss !== to.data.nats.server_id.id)
        return unanswered(options, 'not of a server');
      const { server_id, user_nkey } = to.data.nats;
      const parsed = question.safeParse(claims);
      const decision: BusDecision = parsed.success
        ? await decide(options, parsed.data.nats)
        : {
            allowed: false,
            reason: closing.safeParse(claims).success
              ? alreadyClosed
              : `not a client with a verified certificate and nothing else: ${parsed.error.issues[0]?.path.join('.') ?? ''}`,
          };
      options.onDecision?.(decision);
      const data = decision.allowed
        ? { jwt: await userJwt(user_nkey, issuer, decision.certificate) }
        : { error: 'not permitted' };
      const response = await encodeAuthorizationResponse(user_nkey, server_id.id, issuer, data, {});
      return { sealed: curve.seal(encode(response), serverXkey), decision };
    },
  };
}

function unanswered(options: AuthorizerOptions, reason: string): BusAnswer {
  const decision: BusDecision = { allowed: false, reason };
  options.onDecision?.(decision);
  return { sealed: undefined, decision };
}

async function decide(
  options: AuthorizerOptions,
  asked: z.infer<typeof question>['nats'],
): Promise<BusDecision> {
  const denied = (reason: string): BusDecision => ({ allowed: false, reason });
  try {
    const leaves = new Set(asked.client_tls.verified_chains.map((chain) => chain[0]));
    const [leaf] = leaves;
    if (leaves.size !== 1 || leaf === undefined) return denied('more than one leaf certificate');
    const read = readSvid(new X509Certificate(leaf), 'client');
    if (!read.ok) return denied(read.reason);
    const certificate = read.value;
    const { identity } = certificate;
    const now = options.now();
    if (identity.trustDomain !== options.trustDomain) return denied('foreign trust domain');
    if (certificate.notBefore > now || certificate.notAfter <= now) return denied('not valid now');
    if (!usesBus(identity)) return denied(`a ${identity.kind} has no business on the bus`);
    if (await options.isRevoked(certificate.serial, identity)) return denied('revoked');
    const client = { server: asked.server_id.id, connection: asked.client_info.id };
    return { allowed: true, certificate, client };
  } catch (error) {
    return denied(error instanceof Error ? error.message : 'unreadable certificate');
  }
}

/**
 * The permission ends with the certificate (R4): `exp` is in seconds, rounded down. No name: nats-server would take it for a
 * user of its configuration that is gone, and end the connection at each reload, which is each renewal of its certificate.
 */
function userJwt(
  user: string,
  issuer: ReturnType<typeof signingPair>,
  { identity, notAfter }: CertificateIdentity,
): Promise<string> {
  const permissions = permissionsFor(identity);
  return encodeUser(
    '',
    user,
    issuer,
    {
      pub: { allow: [...permissions.publish.allow], deny: [...permissions.publish.deny] },
      sub: { allow: [...permissions.subscribe.allow], deny: [...permissions.subscribe.deny] },
      subs: limits.busSubscriptions.value,
      payload: limits.busPayload.value,
      allowed_connection_types: ['STANDARD'],
    },
    { aud: account, exp: Math.floor(notAfter.getTime() / 1000) },
  );
}
