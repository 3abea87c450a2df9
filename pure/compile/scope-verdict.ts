import type { SidecarPolicy } from '../contracts/index.ts';
import { ruleOfScope } from '../egress/index.ts';
import { decidePermission, scopeCovers, type PolicyVerdict } from '../policy/index.ts';

/** What a policy leaves to a person: the verdict on a scope that is asked for, or was granted, and the host of an egress scope. */
export function verdictOfScope(
  policy: Pick<SidecarPolicy, 'tools' | 'egress'>,
  scope: string,
): PolicyVerdict & { readonly host: string | null } {
  const outside = ruleOfScope(policy.egress, scope);
  if (outside !== null) return outside;
  return { ...decidePermission(policy.tools, (wide) => scopeCovers(wide, scope)), host: null };
}
