import { createHash } from 'node:crypto';
import {
  GloveboxError,
  limits,
  type PolicyDocument,
  type SessionId,
  type SidecarPolicy,
  type UserId,
} from '../../../pure/contracts/index.ts';
import { compileCedar, compileSession, verdictOfScope } from '../../../pure/compile/index.ts';
import { canonicalJson, fixedKeysChanged, parsePolicy } from '../../../pure/policy/index.ts';
import type { AuditTrail } from '../ports.ts';
import { readAuthorities } from './authorities.ts';
import type { ControlChannel } from './control-channel.ts';
import type { SessionLifeWriter } from './session-life.ts';

export interface PolicyChangeOptions {
  readonly audit: AuditTrail;
  readonly control: Pick<ControlChannel, 'say'>;
  readonly placeholder: (secret: string) => string;
  /** Questions and grants of the session that a policy no longer leaves to a person are over. */
  readonly narrow: (session: SessionId, leavesToPerson: (scope: string) => boolean) => Promise<void>;
}

/** What a change works on: the record's one writer, and the policy that its sidecar was given last. */
export interface ChangingSession {
  readonly life: SessionLifeWriter;
  policy: SidecarPolicy;
}

/**
 * The next generation of a running session's policy. Checked whole, written down, stored, then said, signed, to its sidecar: what a
 * crash interrupts is a policy that is stored and not applied, which the status shows. Resolves when the sidecar applies it.
 */
export async function changePolicy(
  session: ChangingSession,
  given: { readonly text: string; readonly file: string },
  user: UserId,
  options: PolicyChangeOptions,
): Promise<void> {
  const { life } = session;
  const { record } = life;
  if (record.state === 'ending' || record.state === 'ended') {
    throw new GloveboxError('GB_SESSION_STATE', {
      state: record.state,
      operation: 'a change of its policy',
      needed: 'running',
    });
  }
  const document = parsePolicy(given.text, given.file);
  const fixed = fixedKeysChanged(record.policy, document);
  if (fixed.length > 0) throw new GloveboxError('GB_POLICY_FIXED', { keys: fixed.join(', ') });
  const generation = record.policyWritten + 1;
  const { policy, secrets } = await compiled(document, generation, session.policy, options.placeholder);
  await options.audit.record({
    session: record.id,
    sandbox: record.sandboxId,
    turn: record.turnId,
    user,
    operation: 'policy.set',
    args_hash: createHash('sha256').update(canonicalJson(document)).digest('hex'),
    decision: 'allow',
    rule: 'operator',
    detail: `generation ${generation}: ${document.tools.allow.length} tools allowed, ${document.tools.ask.length} by consent, ${document.egress.length} egress rules`,
  });
  await life.changePolicy(document, secrets);
  session.policy = policy;
  await options.narrow(record.id, (scope) => verdictOfScope(policy, scope).decision !== 'deny');
  await applied(session, policy, options.control);
}

async function compiled(
  document: PolicyDocument,
  generation: number,
  before: SidecarPolicy,
  placeholder: (secret: string) => string,
): Promise<{ policy: SidecarPolicy; secrets: readonly string[] }> {
  const made = compileSession({
    document,
    env: {},
    authorities: await readAuthorities(document),
    // What the sandbox holds already goes on standing for the same secret.
    placeholder: (secret) => before.placeholders[secret] ?? placeholder(secret),
  });
  const policy: SidecarPolicy = {
    generation,
    cedar: compileCedar(made.tools),
    egress: [...made.egress],
    tools: made.tools,
    // Those of secrets that are bound no more are still recognised, and still refused on their way out.
    placeholders: { ...before.placeholders, ...made.placeholders },
  };
  const size = Buffer.byteLength(JSON.stringify(policy));
  if (size > limits.policyChange.value) {
    throw new GloveboxError('GB_LIMIT_REACHED', {
      limit: 'policyChange',
      detail: `the compiled policy has ${size} bytes; a running session is sent at most ${limits.policyChange.value}`,
    });
  }
  return { policy, secrets: made.secrets };
}

/** Said twice at most: the bus may lose a word, and the same generation changes nothing a second time. */
async function applied(
  { life }: ChangingSession,
  policy: SidecarPolicy,
  control: Pick<ControlChannel, 'say'>,
): Promise<void> {
  const { id } = life.record;
  for (let said = 0; said < 2; said += 1) {
    await control.say(id, { type: 'policy', policy });
    if (await life.applies(policy.generation, limits.policyApply.value / 2)) return;
  }
  throw new GloveboxError('GB_POLICY_PENDING', {
    generation: policy.generation,
    detail: `its sidecar reported nothing within ${limits.policyApply.value / 1000} seconds`,
  });
}
