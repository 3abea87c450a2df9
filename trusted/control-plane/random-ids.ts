import { randomBytes } from 'node:crypto';
import {
  asConsentId,
  asGrantId,
  asSandboxId,
  asSessionId,
  asTurnId,
  encodeId,
  type ConsentId,
  type GrantId,
  type SandboxId,
  type SessionId,
  type TurnId,
} from '../../pure/contracts/index.ts';

/** Where ids come from: passed in, so that tests can say what they will be. */
export interface Ids {
  session(): SessionId;
  sandbox(): SandboxId;
  turn(): TurnId;
  consent(): ConsentId;
  grant(): GrantId;
  /** 128 random bits, for a token's jti, an audit record or a placeholder. */
  token(): string;
}

const fresh = (): string => encodeId(randomBytes(16));

export const randomIds: Ids = {
  session: () => asSessionId(fresh()),
  sandbox: () => asSandboxId(fresh()),
  turn: () => asTurnId(fresh()),
  consent: () => asConsentId(fresh()),
  grant: () => asGrantId(fresh()),
  token: fresh,
};
