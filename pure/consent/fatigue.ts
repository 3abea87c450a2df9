import { limits } from '../contracts/index.ts';

/** What makes two questions the same one: not the words of their reason. */
export interface Asked {
  readonly scope: string;
  readonly operation: string;
  readonly host: string | null;
  readonly argsHash: string;
  readonly turnId: string;
}

export interface Denial extends Asked {
  readonly at: number;
}

export const isAlike = (one: Asked, other: Asked): boolean =>
  one.scope === other.scope &&
  one.operation === other.operation &&
  one.argsHash === other.argsHash &&
  one.turnId === other.turnId &&
  one.host === other.host;

/** Those that still count, the newest last; only so many are kept. */
export const remembered = (denials: readonly Denial[], now: number): readonly Denial[] =>
  denials.filter(({ at }) => now - at < limits.consentDenied.value).slice(-limits.consentDenials.value);

/**
 * Is a person asked again what they denied? Not the same thing, nor, after some denials, the same scope with ever new arguments:
 * whoever is asked often enough says yes in the end. A person's next input opens another turn, and with it the question again.
 * Null: it may be asked; else why not.
 */
export function deniedBefore(denials: readonly Denial[], asked: Asked, now: number): string | null {
  const recent = remembered(denials, now).filter(({ turnId }) => turnId === asked.turnId);
  if (recent.some((denial) => isAlike(denial, asked))) return 'a person denied exactly this a moment ago';
  const ofScope = recent.filter(({ scope }) => scope === asked.scope);
  return ofScope.length >= limits.consentScopeDenials.value
    ? `a person denied this scope ${String(ofScope.length)} times a moment ago`
    : null;
}
