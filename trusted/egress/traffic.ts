import type { Traffic } from './port.ts';

/** What a request moves, and where to. */
export interface Way {
  readonly sent: { readonly bytes: number };
  readonly address: () => string | null;
}

/** With the address that it has now: a connection that has ended knows none any more. */
export function atThisMoment({ sent, address }: Way): Way {
  const now = address();
  return { sent, address: () => now };
}

export const trafficOf = (
  { began }: { readonly began: number },
  way: Way,
  status: number | null,
  received: number,
): Traffic => ({
  status,
  address: way.address(),
  sent: way.sent.bytes,
  received,
  ms: performance.now() - began,
});
