import {
  asGrantId,
  auditRecord,
  auditText,
  type EgressFacts,
  GloveboxError,
  limits,
  type AuditRecord,
  type GrantId,
  type SandboxId,
  type SessionId,
} from '../../pure/contracts/index.ts';
import type { Runtime } from './runtime.ts';
import type { Stamp } from './turns.ts';

/** What is written down of one operation, without what every record of this session has. */
export interface OperationFacts {
  readonly stamp: Stamp | null;
  /** `files.write`, `egress.POST`, `consent.request`. */
  readonly operation: string;
  readonly argsHash: string | null;
  readonly scope?: string;
  readonly grant?: GrantId | null;
  readonly decision: 'allow' | 'deny' | 'ask';
  readonly rule: string;
  readonly detail?: string;
  /** The secret that the operation will use: the broker hands it out against this record only. */
  readonly secret?: string;
  /** Of a request through the egress proxy. */
  readonly egress?: EgressFacts;
  /** Of an event that was let through: what came of it. */
  readonly outcome?: 'ok' | 'error' | 'unknown';
}

export interface OpenIntent {
  readonly facts: OperationFacts;
  readonly id: string;
  /** Where the stream has it. */
  readonly sequence: number;
}

export interface TrailOptions {
  readonly session: SessionId;
  readonly sandbox: SandboxId;
  /** Resolves when the bytes are stored, with their place in the stream. */
  readonly store: (record: Uint8Array) => Promise<number>;
  readonly runtime: Runtime;
}

/** This session's records. An intent is stored before its effect (R42); where that fails the effect must not happen. */
export class OperationTrail {
  readonly #options: TrailOptions;
  readonly #refusals: RecordWindow;
  readonly #requests: RecordWindow;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(options: TrailOptions) {
    this.#options = options;
    this.#refusals = new RecordWindow(limits.refusalsAudited.value, 'refusals');
    this.#requests = new RecordWindow(limits.requestsAudited.value, 'requests');
  }

  async intent(facts: OperationFacts): Promise<OpenIntent> {
    const record = this.#record('intent', facts);
    return { facts, id: record.id, sequence: await this.#store(record) };
  }

  /** The effect has happened (or not, or who knows): a record that cannot be stored is left to be found open. */
  async outcome(
    intent: OpenIntent,
    outcome: 'ok' | 'error' | 'unknown',
    detail?: string,
    egress?: EgressFacts,
  ): Promise<void> {
    const { facts } = intent;
    const record = this.#record('outcome', {
      ...facts,
      ...(detail === undefined ? {} : { detail }),
      ...(egress === undefined ? {} : { egress }),
    });
    await this.#tryStore({ ...record, intent: intent.id, outcome });
  }

  /** Until every record that was begun is stored, or has failed: a session's end waits for it, so that no outcome is lost to it. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled([...this.#underWay]);
  }

  /** A refusal, or another thing that stands alone. One that cannot be recorded is refused all the same. */
  async event(facts: OperationFacts): Promise<void> {
    const window = facts.decision === 'allow' ? this.#requests : this.#refusals;
    const note = window.enter(this.#options.runtime.now());
    if (note === null) return;
    const detail = [facts.detail ?? '', note].filter((text) => text !== '').join('; ');
    const record = this.#record('event', { ...facts, ...(detail === '' ? {} : { detail }) });
    const outcome = facts.decision === 'allow' ? facts.outcome : 'denied';
    await this.#tryStore({ ...record, ...(outcome === undefined ? {} : { outcome }) });
  }

  #record(kind: AuditRecord['kind'], facts: OperationFacts): AuditRecord {
    const { session, sandbox, runtime } = this.#options;
    return {
      version: 1,
      id: runtime.newId(),
      session,
      turn: facts.stamp?.turnId ?? null,
      user: facts.stamp?.user ?? null,
      sandbox,
      component: 'sidecar',
      kind,
      operation: auditText(facts.operation).slice(0, 200),
      args_hash: facts.argsHash,
      ...(facts.scope === undefined ? {} : { scope: auditText(facts.scope) }),
      ...(facts.grant === undefined || facts.grant === null ? {} : { grant: asGrantId(facts.grant) }),
      decision: facts.decision,
      rule: auditText(facts.rule).slice(0, 200),
      ...(facts.secret === undefined ? {} : { secret: facts.secret }),
      ...(facts.detail === undefined ? {} : { detail: auditText(facts.detail) }),
      ...(facts.egress === undefined
        ? {}
        : { egress: { ...facts.egress, url: auditText(facts.egress.url) || '-' } }),
      time: new Date(runtime.now()).toISOString(),
    };
  }

  async #tryStore(record: AuditRecord): Promise<void> {
    const storing = this.#store(record);
    this.#underWay.add(storing);
    try {
      await storing;
    } catch (error) {
      const code = error instanceof GloveboxError ? error.code : 'unexpected';
      this.#options.runtime.log(`a record of ${record.operation} is not stored (${code})`);
    } finally {
      this.#underWay.delete(storing);
    }
  }

  async #store(record: AuditRecord): Promise<number> {
    const parsed = auditRecord.safeParse(record);
    if (!parsed.success) {
      const place = parsed.error.issues[0]?.path.map(String).join('.') ?? '';
      throw new GloveboxError('GB_AUDIT_UNAVAILABLE', { detail: `a record is not well-formed (${place})` });
    }
    try {
      return await this.#options.store(Buffer.from(JSON.stringify(parsed.data)));
    } catch (error) {
      if (error instanceof GloveboxError && error.code === 'GB_AUDIT_UNAVAILABLE') throw error;
      throw new GloveboxError(
        'GB_AUDIT_UNAVAILABLE',
        { detail: 'the bus does not store it' },
        { cause: error },
      );
    }
  }
}

/** An agent in a loop must not fill the stream that effects wait for: what is more is counted, and the next record says how many. */
class RecordWindow {
  readonly #most: number;
  readonly #what: string;
  #minute = 0;
  #entered = 0;
  #missed = 0;

  constructor(most: number, what: string) {
    this.#most = most;
    this.#what = what;
  }

  /** What the record says besides; null: it gets none. */
  enter(now: number): string | null {
    const minute = Math.floor(now / 60_000);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#entered = 0;
    }
    this.#entered += 1;
    if (this.#entered > this.#most) {
      this.#missed += 1;
      return null;
    }
    const note = this.#missed === 0 ? '' : `${this.#missed} further ${this.#what} before this one`;
    this.#missed = 0;
    return note;
  }
}
