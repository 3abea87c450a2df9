import type { Traffic } from './port.ts';

/** What a request moves, and where to. */
export interface Way {
  readonly sent: { readonly bytes: number };
  address(): string | null;
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
