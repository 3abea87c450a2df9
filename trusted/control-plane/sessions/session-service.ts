import type { Socket } from 'node:net';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
  GloveboxError,
  isId,
  limits,
  type SessionUse,
  type CreateSessionRequest,
  type SessionId,
  type SessionView,
  type UserId,
} from '../../../pure/contracts/index.ts';
import { newborn } from '../../../pure/session/index.ts';
import type { SessionRecord, Store } from '../../store/index.ts';
import { KeyedQueue } from '../keyed-queue.ts';
import type { WorkspaceGuard } from '../ports.ts';
import type { Ids } from '../random-ids.ts';
import { outputLogFd, type SidecarPool, type WarmSidecar } from '../sidecars/sidecar-pool.ts';
import type { ControlWords } from './control-channel.ts';
import { changePolicy, type PolicyChangeOptions } from './policy-change.ts';
import type { ExecRequest } from './exec-turns.ts';
import { planSession, type PlanPlaces, type SessionPlan } from './session-plan.ts';
import { SessionRecovery } from './session-recovery.ts';
import { SessionLifeWriter } from './session-life.ts';
import type { AttachRequest } from './input-turns.ts';
import { SessionRun, type SessionRunOptions } from './session-run.ts';
import { useView } from './session-use.ts';
import { viewOf } from './session-view.ts';

export interface SessionServiceOptions extends Pick<
  SessionRunOptions,
  'sandboxes' | 'control' | 'audit' | 'changes' | 'release' | 'settleIntents' | 'onError' | 'clock'
> {
  readonly store: Pick<Store, 'sessions' | 'replicas' | 'turns' | 'grants'>;
  /** This control plane, among those that share the store. */
  readonly replica: string;
  readonly narrow: PolicyChangeOptions['narrow'];
  readonly pool: Pick<SidecarPool, 'take' | 'fill'>;
  readonly ids: Ids;
  readonly places: Omit<PlanPlaces, 'placeholder'>;
  /** Cedar text of the session's tools; compiled here, decided there. */
  readonly cedarOf: (plan: SessionPlan) => string;
  /** What of a workspace host tools execute or obey unasked: read-only in direct mode (R48). */
  readonly guardedPaths: (workspace: string, mode: 'staged' | 'direct') => Promise<WorkspaceGuard>;
  /** Throws GB_HOST_UNFIT where this host lacks a guarantee that was not waived. */
  readonly requireFit: () => Promise<void>;
  /** What this host lacks and a person gave up, in words: part of every session (R24). */
  readonly waived: () => Promise<readonly string[]>;
  readonly hasSecret: (name: string) => boolean;
  readonly onChange: (view: SessionView) => void;
}

/** Sessions from the request to the record that is left of them. */
export class SessionService {
  readonly #options: SessionServiceOptions;
  readonly #runs = new Map<SessionId, SessionRun>();
  readonly #changes = new KeyedQueue<SessionId>();
  #closing = false;

  constructor(options: SessionServiceOptions) {
    this.#options = options;
  }

  /** Answers when the session is written and its sandbox is starting: whoever attaches now does not wait twice. */
  async create(request: CreateSessionRequest, user: UserId): Promise<SessionView> {
    const { pool, ids, places, requireFit, store } = this.#options;
    if (this.#closing) throw new GloveboxError('GB_DAEMON_UNREACHABLE', { detail: 'it is shutting down' });
    const [plan] = await Promise.all([
      planSession(request, { ...places, placeholder: () => placeholderText(ids) }),
      requireFit(),
    ]);
    this.#requireSecrets(plan);
    if ((await store.sessions.countOpen()) >= limits.sessions.value) {
      throw new GloveboxError('GB_LIMIT_REACHED', {
        limit: 'sessions',
        detail: `${limits.sessions.value} sessions are open`,
      });
    }
    const { workspace } = plan.document;
    // Before anything is written: a workspace that cannot be guarded is refused, and leaves nothing.
    const guard = await this.#options.guardedPaths(plan.workspace, workspace.mode);
    const sidecar = await pool.take();
    try {
      return await this.#begin(request, plan, guard, sidecar, user);
    } catch (error) {
      sidecar.process.kill();
      pool.fill();
      throw error;
    }
  }

  #requireSecrets(plan: SessionPlan): void {
    const missing = plan.neededSecrets.find(({ name }) => !this.#options.hasSecret(name));
    if (missing !== undefined) throw new GloveboxError('GB_SECRET_MISSING', { ...missing });
  }

  async #begin(
    request: CreateSessionRequest,
    plan: SessionPlan,
    guard: WorkspaceGuard,
    sidecar: WarmSidecar,
    user: UserId,
  ): Promise<SessionView> {
    const { store, clock, onChange, pool, cedarOf } = this.#options;
    const { sessionId, sandboxId } = sidecar.process;
    const now = clock.now();
    const expiresAt = new Date(now + plan.ttlSeconds * 1000).toISOString();
    const name = request.name ?? nameFor(plan.workspace, sessionId);
    const record = await store.sessions.insert(
      {
        id: sessionId,
        sandboxId,
        name,
        replica: this.#options.replica,
        command: request.command.length > 0 ? request.command : plan.argv,
        workspace: plan.workspace,
        workspaceMode: plan.document.workspace.mode,
        tier: plan.tier,
        user,
        preset: plan.preset,
        terminal: request.terminal !== null,
        createdAt: new Date(now).toISOString(),
        expiresAt,
        policy: plan.document,
        secrets: plan.compiled.secrets,
      },
      newborn,
    );
    const life = new SessionLifeWriter(store.sessions, record, onChange);
    const weakened = await this.#options.waived();
    if (weakened.length > 0) await life.note({ weakened });
    const { rows, cols } = request.terminal ?? { rows: 0, cols: 0 };
    const run = new SessionRun({
      ...this.#options,
      life,
      guard,
      sidecar,
      order: {
        sessionId,
        sandboxId,
        workspace: {
          path: plan.workspace,
          mode: plan.document.workspace.mode,
          show: plan.document.workspace.show,
          readOnly: guard.readOnly,
        },
        tier: plan.tier,
        toolFolders: plan.toolFolders,
        toolMasks: plan.toolMasks,
        ...(plan.image === null ? {} : { image: plan.image }),
        caPem: sidecar.caPem,
        homeFiles: plan.homeFiles,
        // Longer than the session's own limit: that one ends it in order.
        timeLimitMs: plan.ttlSeconds * 1000 + 10_000,
      },
      activate: {
        policy: {
          generation: 1,
          cedar: cedarOf(plan),
          egress: [...plan.compiled.egress],
          tools: plan.compiled.tools,
          placeholders: { ...plan.compiled.placeholders },
        },
        user,
        sessionName: name,
        outputLogFd,
        command: {
          argv: [...plan.argv],
          env: [...plan.env],
          cwd: plan.cwd,
          terminal: request.terminal === null ? null : { rows, cols },
        },
        stdin: request.stdin,
        waitForAttach: !request.detach,
        expiresAt,
      },
    });
    this.#runs.set(sessionId, run);
    // Not at once: a sidecar that warms up would take the processor from the sandbox that starts.
    const refill = setTimeout(() => pool.fill(), limits.spareDelay.value);
    refill.unref();
    void run.over.then(() => {
      clearTimeout(refill);
      this.#runs.delete(sessionId);
      pool.fill();
    });
    onChange(life.view);
    return life.view;
  }

  /** What a person calls it: an id, the start of one (4 characters or more), or a name. */
  async find(text: string): Promise<SessionRecord> {
    const { store } = this.#options;
    const exact = isId(text) ? await store.sessions.get(text as SessionId) : undefined;
    const found = exact === undefined ? await store.sessions.find(text) : [exact];
    const [first, second] = found;
    if (first === undefined) {
      throw new GloveboxError('GB_NOT_FOUND', { what: 'such session', detail: `nothing is called ${text}` });
    }
    if (second !== undefined) {
      throw new GloveboxError('GB_INPUT_INVALID', {
        what: `The session ${text}`,
        detail: 'several ids begin with it',
      });
    }
    return this.#runs.get(first.id)?.record ?? first;
  }

  view(record: SessionRecord): SessionView {
    return this.#runs.get(record.id)?.life.view ?? viewOf(record, 0);
  }

  /** When nothing of it is left but its record and its changes; at the latest after `sessionSettle`. */
  async ended(record: SessionRecord): Promise<void> {
    const run = this.#runs.get(record.id);
    if (run === undefined) return;
    const late = new AbortController();
    await Promise.race([
      run.over,
      delay(limits.sessionSettle.value, undefined, { ref: false, signal: late.signal }),
    ]).finally(() => late.abort());
  }

  /** When nothing of it writes any more. */
  async over(record: SessionRecord): Promise<void> {
    await this.#runs.get(record.id)?.over;
  }

  /** What each session that runs uses of its tier. */
  async usage(): Promise<SessionUse[]> {
    const found = await Promise.all(
      [...this.#runs.values()].map(async (run) => {
        const used = await run.usage().catch((error: unknown) => {
          // One that ends at this moment has nothing left to be read.
          this.#options.onError(error, 'measuring a session');
          return undefined;
        });
        return used === undefined ? [] : [useView(run.life.view, used)];
      }),
    );
    return found.flat();
  }

  async list(ended: boolean): Promise<SessionView[]> {
    return (await this.records(ended)).map((record) => this.view(record));
  }

  async records(ended: boolean): Promise<readonly SessionRecord[]> {
    return await this.#options.store.sessions.list({ ended, limit: limits.listLength.value });
  }

  async stop(record: SessionRecord, detail: string): Promise<SessionView> {
    const run = this.#runs.get(record.id);
    if (run === undefined) return viewOf(record, 0);
    await run.stop('stopped', detail);
    return run.life.view;
  }

  /** Said before the upgrade, while there is still HTTP to say it in. */
  async requireAttachable(record: SessionRecord): Promise<void> {
    const run = this.#runs.get(record.id);
    if (run === undefined || run.record.state === 'ending' || run.record.state === 'ended') {
      throw ended(run?.record.state ?? record.state, 'attach');
    }
  }

  async exec(record: SessionRecord, request: ExecRequest, user: UserId): Promise<string> {
    const run = this.#runs.get(record.id);
    if (run === undefined) {
      throw new GloveboxError('GB_SESSION_STATE', {
        state: record.state,
        operation: 'exec',
        needed: 'running',
      });
    }
    return await run.exec(request, user);
  }

  async attach(record: SessionRecord, socket: Socket, how: AttachRequest): Promise<void> {
    const run = this.#runs.get(record.id);
    if (run === undefined) throw ended(record.state, 'attach');
    await run.attach(socket, this.#options.ids.token(), how);
  }

  /** One change after the other; the record as it is when the sidecar applies it. */
  async changePolicy(
    record: SessionRecord,
    given: { readonly text: string; readonly file: string },
    user: UserId,
  ): Promise<SessionRecord> {
    const { audit, control, ids, narrow } = this.#options;
    const run = this.#runs.get(record.id);
    if (run === undefined) throw ended(record.state, 'a change of its policy');
    const placeholder = (): string => placeholderText(ids);
    await this.#changes.run(
      record.id,
      async () => await changePolicy(run, given, user, { audit, control, narrow, placeholder }),
    );
    return run.record;
  }

  /** What the sidecar of this session says that it applies. */
  async policyApplied(session: SessionId, generation: number): Promise<void> {
    const run = this.#runs.get(session);
    if (run === undefined) throw ended('ended', 'a report');
    await run.life.reportsPolicy(generation);
  }

  /** Nothing, where the session has ended: its sidecar's identity ends with it. */
  gatewayRevoked(session: SessionId): void {
    this.#runs.get(session)?.gatewayRevoked();
  }

  /** A word for every sidecar that may wait for something. One that does not get it waits until its own time limit. */
  tellAll(words: ControlWords): void {
    const { control, onError } = this.#options;
    for (const id of this.#runs.keys())
      control.say(id, words).catch((error: unknown) => onError(error, 'telling a sidecar'));
  }

  /** Written by whoever changed the workspace's layer of an ended session. */
  async noteChanges(record: SessionRecord, changes: SessionRecord['changes']): Promise<SessionView> {
    await this.#options.store.sessions.note(record.id, { changes });
    const view = viewOf({ ...record, changes }, 0);
    this.#options.onChange(view);
    return view;
  }

  async recover(): Promise<number> {
    return await new SessionRecovery(this.#options).recover();
  }

  /** What replicas left that live no more. */
  async recoverOthers(): Promise<number> {
    return await new SessionRecovery(this.#options).recoverOthers();
  }

  /** Ends all of them, in order, and takes no more. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.allSettled(
      [...this.#runs.values()].map(async (run) => await run.stop('stopped', 'Glovebox was shut down')),
    );
  }
}

/** Unguessable, and nothing but the name of a secret's place. */
const placeholderText = (ids: Ids): string => `gb-placeholder-${ids.token()}`;

const ended = (state: string, operation: string): GloveboxError =>
  new GloveboxError('GB_SESSION_STATE', { state, operation, needed: 'running' });

function nameFor(workspace: string, id: SessionId): string {
  const word = basename(workspace)
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 30);
  return `${word === '' ? 'session' : word}-${id.slice(0, 4)}`;
}
