import {
  tiers,
  type SessionUse,
  type SessionView,
  type Tier,
  type TierName,
} from '../../../pure/contracts/index.ts';
import type { SandboxUsage } from '../../drivers/index.ts';

/** What a session uses beside what its tier allows. */
export function useView(view: SessionView, used: SandboxUsage): SessionUse {
  const tier: Tier = tiers[view.tier as TierName];
  return {
    id: view.id,
    name: view.name,
    tier: view.tier,
    command: view.command,
    expiresAt: view.expiresAt,
    at: new Date().toISOString(),
    used,
    allowed: { vcpu: tier.vcpu, memoryBytes: tier.memoryBytes, diskBytes: tier.diskBytes },
  };
}
