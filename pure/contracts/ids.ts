/** Branded identifiers. A string becomes one of these only by its parser or its maker, so a mix-up does not compile. */
declare const brand: unique symbol;
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** 26 characters of lower-case base32 (128 random bits): safe in a NATS subject, a path and a URI. */
export type SessionId = Brand<string, 'SessionId'>;
/** The id of one sandbox of a session; the same alphabet. */
export type SandboxId = Brand<string, 'SandboxId'>;
export type TurnId = Brand<string, 'TurnId'>;
export type ConsentId = Brand<string, 'ConsentId'>;
export type GrantId = Brand<string, 'GrantId'>;
/** `local/<uid>` on one machine; an issuer's subject in server mode. */
export type UserId = Brand<string, 'UserId'>;

const idPattern = /^[a-z2-7]{26}$/;
const userPattern = /^[a-z0-9][a-z0-9._-]{0,63}\/[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$/;

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';

/** RFC 4648 base32, lower case, without padding. `bytes` must hold 16 bytes. */
export function encodeId(bytes: Uint8Array): string {
  if (bytes.length !== 16) throw new RangeError('an id is made of 16 random bytes');
  let bits = 0;
  let value = 0;
  let out = '';
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      out += alphabet[(value >>> (bits - 5)) & 31] ?? '';
      bits -= 5;
    }
    value &= (1 << bits) - 1;
  }
  return out + (alphabet[(value << (5 - bits)) & 31] ?? '');
}

export const isId = (text: string): boolean => idPattern.test(text);
export const isUserId = (text: string): boolean => userPattern.test(text);

export const asSessionId = (text: string): SessionId => check(text, 'session id') as SessionId;
export const asSandboxId = (text: string): SandboxId => check(text, 'sandbox id') as SandboxId;
export const asTurnId = (text: string): TurnId => check(text, 'turn id') as TurnId;
export const asConsentId = (text: string): ConsentId => check(text, 'consent id') as ConsentId;
export const asGrantId = (text: string): GrantId => check(text, 'grant id') as GrantId;

export function asUserId(text: string): UserId {
  if (!userPattern.test(text)) throw new RangeError('not a user id');
  return text as UserId;
}

function check(text: string, what: string): string {
  if (!idPattern.test(text)) throw new RangeError(`not a ${what}`);
  return text;
}
