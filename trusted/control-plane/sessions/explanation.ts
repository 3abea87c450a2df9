import type { EndReason } from '../../../pure/contracts/index.ts';
import type { SandboxEnd } from '../ports.ts';

/** These were told by who saw less than the sandbox's own limits did. */
const unexplained: readonly (EndReason | null)[] = [
  'sandbox-died',
  'exited',
  'sidecar-died',
  'heartbeat-missed',
];

/** What a sandbox's limits say of an end that was told as `reason`; null: nothing. */
export function explanationOf(
  { explained, full }: SandboxEnd,
  reason: EndReason | null,
): { readonly reason: EndReason; readonly detail: string } | null {
  if (explained !== null) return unexplained.includes(reason) ? explained : null;
  return full !== null && reason === 'exited' ? { reason, detail: full } : null;
}
