import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import {
  asGloveboxError,
  endReasons,
  GloveboxError,
  limits,
  type EndReason,
  type SessionId,
  type SidecarActivate,
  type SidecarPolicy,
  type SidecarReport,
  type TurnId,
  type UserId,
} from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import type {
  AuditTrail,
  Clock,
  RunningSandbox,
  SandboxEnd,
  SandboxOrder,
  SandboxPort,
  WorkspaceChanges,
  WorkspaceGuard,
} from '../ports.ts';
import type { SandboxUsage } from '../../drivers/index.ts';
import type { SettleIntents } from '../audit-trail.ts';
import type { Ids } from '../random-ids.ts';
import type { WarmSidecar } from '../sidecars/sidecar-pool.ts';
import type { Store } from '../../store/index.ts';
import { InputTurns, type AttachRequest } from './input-turns.ts';
import { TurnBook } from './turn-book.ts';
import { ExecTurns, type ExecRequest } from './exec-turns.ts';
import { ClockWatch } from './clock-watch.ts';
import { withTerm } from './environment.ts';
import type { ControlChannel } from './control-channel.ts';
import { explanationOf } from './explanation.ts';
import type { SessionLifeWriter } from './session-life.ts';

export interface SessionRunOptions {
  readonly store: Pick<Store, 'turns' | 'grants'>;
  readonly life: SessionLifeWriter;
  readonly guard: Pick<WorkspaceGuard, 'changed'>;
  readonly sidecar: WarmSidecar;
  readonly order: SandboxOrder;
  readonly activate: Omit<SidecarActivate, 'type'>;
  readonly sandboxes: SandboxPort;
  readonly control: Pick<ControlChannel, 'say'>;
  readonly audit: AuditTrail;
  readonly changes: WorkspaceChanges;
  /** Questions and grants of the session are void, its identities revoked. */
  readonly release: (session: SessionId) => Promise<void>;
  /** What it began and did not finish is written down as unknown (R42). */
  readonly settleIntents: SettleIntents;
  readonly onError: (error: unknown, doing: string) => void;
  readonly clock: Clock;
  readonly ids: Ids;
}

/** One session while anything of it is alive: its sandbox, its sidecar, its one turn, its end. */
export class SessionRun {
  /** Resolves when nothing of it is left but its record and its staged changes. */
  readonly over: Promise<void>;
  readonly #options: SessionRunOptions;
  readonly #stops: (() => void)[] = [];
  readonly #activated: Promise<void>;
  #sandbox: RunningSandbox | undefined;
  #ending: Promise<void> | undefined;
  #exited = false;
  #exitSeen: () => void = () => undefined;
  readonly #exit: Promise<void>;
  #resolveOver: () => void = () => undefined;
  #attachedOnce = false;
  /** What its sidecar was given last. */
  policy: SidecarPolicy;
  readonly #clock: ClockWatch;
  readonly #execs: ExecTurns;
  readonly #turns: TurnBook;
  readonly #inputs: InputTurns;

  constructor(options: SessionRunOptions) {
    this.#options = options;
    this.policy = options.activate.policy;
    this.over = new Promise((resolve) => {
      this.#resolveOver = resolve;
    });
    this.#exit = new Promise((resolve) => {
      this.#exitSeen = resolve;
    });
    const { process } = options.sidecar;
    this.#stops.push(process.onReport((report) => this.#guarded('a report', this.#heed(report))));
    void process.exited.then(() => this.end('sidecar-died', 'its sidecar ended, so its one door is closed'));
    this.#after(Date.parse(this.record.expiresAt) - options.clock.now(), () => this.end('time-limit', null));
    this.#turns = new TurnBook({ ...options, turns: options.store.turns, grants: options.store.grants });
    this.#execs = new ExecTurns(options, this.#turns);
    this.#inputs = new InputTurns(options, this.#turns);
    this.#clock = new ClockWatch(options.clock);
    this.#stops.push(this.#clock.watch());
    if (options.activate.waitForAttach) {
      this.#after(limits.attachWait.value, () => {
        if (!this.#attachedOnce) void this.end('client-gone', 'nobody attached to it');
      });
    }
    this.#activated = this.#start();
    this.#activated.catch((error: unknown) => {
      const known = asGloveboxError(error);
      if (known.code === 'GB_INTERNAL') options.onError(error, 'starting a session');
      void this.end('start-failed', `${known.what} ${known.why}`);
    });
  }

  get record(): SessionLifeWriter['record'] {
    return this.#options.life.record;
  }

  get life(): SessionLifeWriter {
    return this.#options.life;
  }

  async #start(): Promise<void> {
    const { life, audit, ids, sandboxes, order, sidecar, activate } = this.#options;
    await life.apply({ type: 'prepare' });
    // Everything that does not wait for each other goes at once; the sandbox takes longest.
    const starting = sandboxes.start(order);
    starting.catch(() => undefined);
    const turn = ids.turn();
    const words = [
      this.#turns.begin(this.record.user, turn),
      audit.record({
        session: order.sessionId,
        sandbox: order.sandboxId,
        turn,
        user: this.record.user,
        operation: 'session.start',
        decision: 'allow',
        rule: 'operator',
        detail: `preset ${this.record.preset ?? 'none'}, tier ${this.record.tier}, workspace ${this.record.workspaceMode}${order.image === undefined ? '' : `, image ${order.image.digest}`}`,
      }),
    ];
    const said = await Promise.allSettled(words);
    const sandbox = await starting;
    this.#sandbox = sandbox;
    for (const outcome of said) if (outcome.status === 'rejected') throw outcome.reason;
    if (this.#ending !== undefined) return;
    void sandbox.over.then(async ({ explained }) => {
      await this.end(explained?.reason ?? 'sandbox-died', explained?.detail ?? 'its sandbox ended by itself');
    });
    await sidecar.process.send({ type: 'activate', ...activate }, sandbox.link);
  }

  /** Hands a connection of the operator to the sidecar: not one byte of it is read here. */
  async attach(socket: Socket, attachId: string, how: AttachRequest): Promise<void> {
    const { user, input, foreground, process } = how;
    await this.#activated;
    if (this.#ending !== undefined && !this.#exited) throw notRunning(this.record.state);
    this.#attachedOnce = true;
    if (input) this.#inputs.attached(attachId, user);
    await this.#options.sidecar.process.send(
      {
        type: 'attach',
        attachId,
        user,
        input,
        foreground,
        ...(process === undefined ? {} : { process }),
      },
      socket,
    );
  }

  /** A further command, recorded before it can have an effect, in a turn of its own (R36). Its name is for `attach`. */
  async exec(request: ExecRequest, user: UserId): Promise<string> {
    const { sidecar, activate } = this.#options;
    await this.#activated;
    if (this.#ending !== undefined || this.record.state !== 'running')
      throw notRunning(this.record.state, 'exec');
    const process = await this.#execs.begin(request, user);
    const { argv, env, cwd } = activate.command;
    await sidecar.process.send({
      type: 'exec',
      process,
      argv: request.command.length > 0 ? [...request.command] : [...argv],
      env: withTerm(env, request.terminal?.term),
      cwd,
      terminal:
        request.terminal === null ? null : { rows: request.terminal.rows, cols: request.terminal.cols },
      stdin: request.stdin,
    });
    return process;
  }

  /** Undefined where there is no sandbox yet, or none any more. */
  async usage(): Promise<SandboxUsage | undefined> {
    return this.#ending === undefined ? await this.#sandbox?.usage() : undefined;
  }

  /** An ordered end: the command is asked first. */
  async stop(reason: EndReason, detail: string | null): Promise<void> {
    if (this.#ending === undefined && this.record.state === 'running') {
      await this.#options.life.apply({ type: 'end', reason, detail });
      await this.#options.sidecar.process.send({ type: 'signal', signal: 15 }).catch(() => undefined);
      await Promise.race([this.#exit, delay(limits.endGrace.value, undefined, { ref: false })]);
    }
    await this.end(reason, detail);
  }

  /** Ends it for this reason, unless it is ending for another one already. Resolves when it is over. */
  async end(reason: EndReason, detail: string | null): Promise<void> {
    this.#ending ??= this.#finish(reason, detail);
    await this.#ending;
  }

  /** Whoever holds its key, it is nobody's gateway any more: it goes now, and its link and its connections with it [R4]. */
  gatewayRevoked(): void {
    void this.end('sidecar-died', 'the identity of its sidecar was revoked');
    this.#options.sidecar.process.kill();
  }

  async #heed(report: SidecarReport): Promise<void> {
    const { life, clock } = this.#options;
    switch (report.type) {
      case 'started':
        // By now the sandbox's process is where its limits are.
        if (this.#sandbox !== undefined)
          this.#guarded('reading limits back', this.#noteLimits(this.#sandbox));
        await life.apply({ type: 'started', at: new Date(clock.now()).toISOString() });
        return;
      case 'exited':
        this.#exited = true;
        // Exactly as the command ended; where the session is ending for another reason, that reason stays.
        await life.apply({ type: 'exited', code: report.code, signal: report.signal });
        this.#exitSeen();
        await this.end('exited', null);
        return;
      case 'exec-exited':
        await this.#execs.ended(report.process, report, this.#ending === undefined);
        return;
      case 'input':
        if (this.#ending === undefined) await this.#inputs.heed(report.attachId);
        return;
      case 'attached':
        life.attached = report.count;
        return;
      case 'failed':
        await this.end(reasonOf(report.reason), report.detail);
        return;
      case 'detached':
        this.#inputs.detached(report.attachId);
        // A foreground run is its client's: lost without a word, there is nobody left whom it works for.
        if (report.foreground && !report.orderly && this.#options.activate.waitForAttach) {
          await this.stop('client-gone', 'the connection of its client was lost');
        }
        return;
      case 'warm':
      case 'handed':
      case 'egress-counted':
        return;
    }
  }

  async #finish(reason: EndReason, detail: string | null): Promise<void> {
    const { life, clock } = this.#options;
    const step: Step = async (doing, work) => {
      // One step that fails must not keep the next ones from cleaning up.
      await work().catch((error: unknown) => this.#options.onError(error, doing));
    };
    for (const stop of this.#stops.splice(0)) stop();
    await step('writing an end', async () => await life.apply({ type: 'end', reason, detail }));
    // A start that is still under way leaves a sandbox too.
    await this.#activated.catch(() => undefined);
    const turn = this.record.turnId;
    // A command that ended by itself has said all it had to say: nobody waits for its sandbox to be gone before being told.
    const told = this.record.reason === 'exited' ? this.#tellSidecar(step, reason) : undefined;
    const gone = step('removing a sandbox', async () => this.#explain(await this.#sandbox?.remove()));
    await Promise.all([
      gone,
      this.#sandboxOver(step, reason).then(async () => {
        await (told ?? this.#tellSidecar(step, reason));
        await this.#recordEnd(step, turn, reason);
      }),
      step('closing a turn', async () => await this.#turns.close()),
    ]);
    await step('writing an end', async () => {
      await life.apply({ type: 'removed', at: new Date(clock.now()).toISOString() });
    });
    this.#resolveOver();
  }

  async #explain(end: SandboxEnd | undefined): Promise<void> {
    const known = end === undefined ? null : explanationOf(end, this.record.reason);
    if (known !== null) await this.#options.life.apply({ type: 'explain', ...known });
  }

  /** Nobody in it writes any more: what came of it is written down while it is taken off the host. */
  async #sandboxOver(step: Step, reason: EndReason): Promise<void> {
    const { life, changes } = this.#options;
    let changed: boolean | null = null;
    await step('learning a sandbox\u2019s end', async () => {
      const end = await this.#sandbox?.over;
      changed = end?.changed ?? null;
      await this.#explain(end);
    });
    await step('noting the clock', async () => {
      const setBack = this.#clock.setBackMs();
      if (setBack > 0) await changes.clockSetBack(this.record, setBack);
    });
    await step('looking for changes', async () => {
      if (changed ?? (await changes.hasChanges(this.record))) await life.note({ changes: 'kept' });
    });
    await step('looking for what host tools execute', async () => await this.#sayGuarded(reason));
  }

  /** Its identity is revoked when it has ended: until then it may still store what became of its last operation. */
  async #tellSidecar(step: Step, reason: EndReason): Promise<void> {
    const { sidecar, release, order } = this.#options;
    await step('telling a sidecar', async () => {
      if (sidecar.process.alive)
        await sidecar.process.send({ type: 'end', reason: this.record.reason ?? reason });
    });
    await step('waiting for a sidecar', async () => await this.#sidecarGone());
    await step('releasing a session', async () => await release(order.sessionId));
  }

  /** After the sidecar's own last record, so that what is open then stays open (R42). */
  async #recordEnd(step: Step, turn: TurnId | null, reason: EndReason): Promise<void> {
    const { audit, order, settleIntents, life } = this.#options;
    await step('recording an end', async () => {
      const sequence = await audit.record({
        session: order.sessionId,
        sandbox: order.sandboxId,
        turn,
        user: this.record.user,
        operation: 'session.end',
        decision: 'allow',
        rule: `end.${this.record.reason ?? reason}`,
        detail: `exit code ${this.record.exitCode ?? 'none'}, signal ${this.record.exitSignal ?? 'none'}`,
      });
      await settleIntents(order.sessionId, sequence);
      // Where this is not reached, the next start does it.
      await life.note({ settled: true });
    });
  }

  /** It ends by itself when the last output is delivered; a reader that takes none of it does not hold it for ever. */
  async #sidecarGone(): Promise<void> {
    const { process } = this.#options.sidecar;
    const late = delay(limits.sidecarEnd.value, 'late', { ref: false });
    if ((await Promise.race([process.exited, late])) === 'late') process.kill();
    await process.exited;
  }

  /** Direct mode cannot keep a new hook or `.envrc` from being made; the person is told before they use the folder (R48). */
  async #sayGuarded(reason: EndReason): Promise<void> {
    const found = await this.#options.guard.changed();
    if (found.length === 0) return;
    const named = found.slice(0, 20).map((path) => escapeUntrusted(path, 200));
    const more = found.length > named.length ? ` and ${found.length - named.length} more` : '';
    const warning = `host tools execute or obey what is new or changed in the workspace: ${named.join(', ')}${more}`;
    const { detail, reason: known } = this.record;
    await this.#options.life.apply({
      type: 'explain',
      reason: known ?? reason,
      detail: detail === null ? warning : `${detail}; ${warning}`,
    });
  }

  async #noteLimits(sandbox: RunningSandbox): Promise<void> {
    const { limits: found, weakened } = await sandbox.limits();
    await this.#options.life.note({ limits: found, weakened: [...this.record.weakened, ...weakened] });
  }

  #after(ms: number, work: () => unknown): void {
    const timer = setTimeout(() => void work(), Math.max(0, Math.min(ms, 2 ** 31 - 1)));
    timer.unref();
    this.#stops.push(() => clearTimeout(timer));
  }

  #guarded(doing: string, work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.#options.onError(error, doing);
      // What is not understood about a session ends it (invariant 8).
      void this.end('link-violation', 'its sidecar reported what it should not');
    });
  }
}

/** One that fails is told, and the next ones go on. */
type Step = (doing: string, work: () => Promise<unknown>) => Promise<void>;

const reasonOf = (text: string): EndReason =>
  endReasons.find((reason) => reason === text) ?? 'link-violation';

const notRunning = (state: string, operation = 'attach'): GloveboxError =>
  new GloveboxError('GB_SESSION_STATE', { state, operation, needed: 'running' });
