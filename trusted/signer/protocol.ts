import { z } from 'zod';
import { errorCatalogue, limits, type ErrorCode } from '../../pure/contracts/index.ts';

/**
 * The three steps by which one root takes the place of another while everything runs. Between two of them every part has to
 * have renewed its certificate once, and with it its trust bundle (one certificate lifetime): `announce` puts the next root into
 * the bundle, `activate` has it sign the issuing CA, `retire` takes the old one out.
 */
export const rootSteps = ['announce', 'activate', 'retire'] as const;
export type RootStep = (typeof rootSteps)[number];
/** What the control plane may ask over the inherited channel. Anything else is answered with an error. */
const id = z.int().min(1);
const none = z.strictObject({});
const serial = z.string().regex(/^[0-9a-f]{1,64}$/);
const payload = z
  .looseObject({})
  .refine((value) => JSON.stringify(value).length <= limits.signedPayload.value, {
    message: 'the payload is too long',
  });

export const signerRequest = z.discriminatedUnion('method', [
  z.strictObject({
    id,
    method: z.literal('bootstrap'),
    params: z.strictObject({ keysFolder: z.string().min(1).max(4096), trustDomain: z.string().max(255) }),
  }),
  z.strictObject({
    id,
    method: z.literal('issueSvid'),
    params: z.strictObject({
      csrPem: z.string().max(limits.certificateRequest.value),
      spiffeId: z.string().max(2048),
      ttlSeconds: z.int().min(1),
      dnsNames: z.array(z.string().max(253)).max(8).default([]),
    }),
  }),
  z.strictObject({ id, method: z.literal('bundle'), params: none }),
  z.strictObject({ id, method: z.literal('rotateIssuing'), params: none }),
  z.strictObject({ id, method: z.literal('rootPhase'), params: none }),
  z.strictObject({ id, method: z.literal('caCertificates'), params: none }),
  z.strictObject({
    id,
    method: z.literal('rotateRoot'),
    params: z.strictObject({ step: z.enum(rootSteps) }),
  }),
  z.strictObject({ id, method: z.literal('publicKeys'), params: none }),
  z.strictObject({ id, method: z.literal('signConsent'), params: z.looseObject({}) }),
  z.strictObject({
    id,
    method: z.literal('signControl'),
    params: payload.and(
      z.looseObject({ session_id: z.string().min(1), seq: z.int().min(1), type: z.string().min(1) }),
    ),
  }),
  z.strictObject({ id, method: z.literal('signCheckpoint'), params: payload }),
  z.strictObject({ id, method: z.literal('busKeys'), params: none }),
  z.strictObject({
    id,
    method: z.literal('authorizeBus'),
    params: z.strictObject({
      sealed: z.base64().max(limits.busQuestion.value),
      serverXkey: z.string().max(100),
      revoked: z.strictObject({ from: z.int().min(0), serials: z.array(serial) }),
    }),
  }),
]);
export type SignerRequest = z.infer<typeof signerRequest>;
export type SignerMethod = SignerRequest['method'];

const code = z.custom<ErrorCode>((value) => typeof value === 'string' && value in errorCatalogue);
const details = z.record(z.string(), z.union([z.string(), z.number()]));

export const signerResponse = z.union([
  z.strictObject({ id: z.int(), ok: z.literal(true), result: z.unknown() }),
  z.strictObject({ id: z.int(), ok: z.literal(false), error: z.strictObject({ code, details }) }),
]);
export type SignerResponse = z.infer<typeof signerResponse>;

export const svidResult = z.strictObject({ chainPem: z.string(), serial: z.string(), notAfter: z.string() });
export const emptyResult = z.strictObject({});
export const rootPhaseResult = z.strictObject({ next: z.enum(rootSteps) });
export const caCertificatesResult = z.strictObject({
  issuing: z.string(),
  root: z.string(),
  next: z.string().nullable(),
  previous: z.string().nullable(),
});
export const bundleResult = z.strictObject({ bundlePem: z.string() });
export const tokenResult = z.strictObject({ token: z.string() });
const publicJwk = z.looseObject({
  kty: z.literal('OKP'),
  crv: z.literal('Ed25519'),
  x: z.string(),
  kid: z.string(),
  d: z.undefined().optional(),
});
export const publicKeysResult = z.strictObject({ keys: z.array(publicJwk) });
export const busKeysResult = z.strictObject({ issuer: z.string(), xkey: z.string() });
export const busAnswerResult = z.strictObject({
  sealed: z.base64().nullable(),
  decision: z.discriminatedUnion('allowed', [
    z.strictObject({
      allowed: z.literal(true),
      spiffeId: z.string(),
      serial,
      notBefore: z.iso.datetime(),
      notAfter: z.iso.datetime(),
      client: z.strictObject({ server: z.string(), connection: z.int() }),
    }),
    z.strictObject({ allowed: z.literal(false), reason: z.string() }),
  ]),
});
