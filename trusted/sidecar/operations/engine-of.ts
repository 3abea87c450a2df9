import { Agent } from 'node:http';
import type { EngineChoice, SidecarPolicy } from '../../../pure/contracts/index.ts';
import type { PolicyEngine } from '../../../pure/policy/index.ts';
import { CedarEngine, loadCedar } from './cedar-engine.ts';
import { OpaEngine } from './opa-engine.ts';

/** The engine that the operator chose, ready to be prepared for each generation of a policy. */
export async function engineOf(
  choice: EngineChoice | undefined,
): Promise<(policy: SidecarPolicy) => PolicyEngine> {
  if (choice !== undefined) {
    // One pool of connections for all generations.
    const agent = new Agent({ keepAlive: true });
    return ({ tools }) => OpaEngine.prepare(tools, choice, agent);
  }
  const cedar = await loadCedar();
  return ({ cedar: text, generation }) => CedarEngine.prepare(text, generation, cedar);
}
