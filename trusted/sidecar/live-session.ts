import type { Duplex } from 'node:stream';
import {
  asUserId,
  limits,
  type ControlMessage,
  type EndReason,
  type SidecarActivate,
  type SidecarAttach,
  type SidecarExec,
  type SidecarPolicy,
} from '../../pure/contracts/index.ts';
import {
  LinkServer,
  type LinkEnd,
  type LinkEvent,
  type LinkHandlers,
  type LinkRenewal,
} from '../link/index.ts';
import { AgentApi } from './agent/agent-api.ts';
import { AgentServer } from './agent/agent-server.ts';
import { NamedTurns } from './agent/named.ts';
import { linkCaller } from './agent/caller.ts';
import { Execs } from './exec.ts';
import { EgressCounter } from './egress-counter.ts';
import { openEgress } from './egress-out.ts';
import { Grants } from './grants.ts';
import { LivePolicy } from './live-policy.ts';
import { Operations } from './operations/operations.ts';
import { Permissions } from './operations/permissions.ts';
import { OperationTrail } from './operation-trail.ts';
import type { Report } from './report.ts';
import type { Runtime } from './runtime.ts';
import { inputGate } from './stdio/input-gate.ts';
import { CommandStdio, type CommandEnd } from './stdio/command-stdio.ts';
import { Turns } from './turns.ts';
import type { Warm } from './warm.ts';

export interface LiveSessionOptions {
  readonly warm: Warm;
  readonly activate: SidecarActivate;
  readonly socket: Duplex;
  /** Of a link that comes over a network. */
  readonly renewal?: LinkRenewal;
  readonly report: Report;
  readonly runtime: Runtime;
  readonly onError: (error: unknown) => void;
}

const listen = [
  { address: '127.0.0.1:9090', tunnel: 'api' },
  { address: '127.0.0.1:3128', tunnel: 'egress' },
];

/** The parts of a session that is running: its link, its command's stdio, its doors. */
export class LiveSession {
  readonly #options: LiveSessionOptions;
  readonly #turns: Turns;
  readonly #grants: Grants;
  readonly #policy: LivePolicy;
  readonly #trail: OperationTrail;
  readonly #permissions: Permissions;
  readonly #agent: AgentServer;
  readonly #egress: ReturnType<typeof openEgress>;
  readonly #stdio: CommandStdio;
  readonly #execs: Execs;
  readonly #link: LinkServer;
  readonly #counter = new EgressCounter();
  #reporting: NodeJS.Timeout | undefined;
  #started = false;
  #end: CommandEnd | undefined;
  #failed = false;

  constructor(options: LiveSessionOptions) {
    this.#options = options;
    const { warm, activate, runtime, report, onError } = options;
    const { session, sandbox, self, trustDomain } = warm;
    this.#turns = new Turns({ now: () => runtime.now(), newToken: () => runtime.newId() });
    this.#grants = new Grants({ onceOnly: () => this.#turns.onceOnly, use: warm.useGrant });
    const policy = new LivePolicy(activate.policy, warm.prepareEngine);
    this.#policy = policy;
    const trail = new OperationTrail({ session, sandbox, store: warm.store, runtime });
    this.#trail = trail;
    const shared = { session, turns: this.#turns, grants: this.#grants, trail, policy, runtime };
    const operations = new Operations({ ...shared, provider: warm.provider });
    this.#permissions = new Permissions({
      ...shared,
      sandbox,
      self,
      trustDomain,
      requestConsent: warm.requestConsent,
      consumeConsent: warm.consumeConsent,
      cancelConsent: warm.cancelConsent,
      verifyConsent: (token, expected, now) => warm.verifier.consent(token, expected, now),
    });
    // What an agent sends can fail in ways that nobody thought of. The request is refused; the session goes on.
    let doorErrors = 0;
    const doorError = (error: unknown): void => {
      doorErrors += 1;
      const what = error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 200) : 'unknown';
      if (doorErrors <= limits.doorErrors.value) runtime.log(`a request of the agent failed (${what})`);
    };
    const api = new AgentApi({
      sessionName: activate.sessionName,
      expiresAt: activate.expiresAt,
      operations,
      permissions: this.#permissions,
      turns: this.#turns,
      emit: ({ kind, text }) => warm.emit({ type: 'agent', sessionId: session, kind, text }),
      runtime,
    });
    this.#agent = new AgentServer({
      caller: linkCaller(session),
      api,
      named: new NamedTurns(this.#turns, () => runtime.newId()),
      // Its libraries weigh as much as the rest; a session whose agent never asks does without.
      mcp: async () => (await import('./agent/mcp-endpoint.ts')).createMcpEndpoint(api, doorError),
      onError: doorError,
    });
    this.#egress = openEgress({
      policy,
      turns: this.#turns,
      grants: this.#grants,
      trail,
      counter: this.#counter,
      readSecret: warm.readSecret,
      signRequest: warm.signRequest,
      certificateFor: (host) => warm.authority.issue(host, runtime.now()),
    });
    this.#stdio = new CommandStdio({
      process: 'main',
      terminal: activate.command.terminal,
      stdin: activate.stdin,
      logFd: activate.outputLogFd,
      send: (command) => this.#link.send(command),
      report: {
        attached: (count) => report({ type: 'attached', count }),
        detached: (attachId, foreground, orderly) =>
          report({ type: 'detached', attachId, foreground, orderly }),
      },
      onError,
      delay: (ms) => runtime.delay(ms),
    });
    this.#execs = new Execs({
      send: (command) => this.#link.send(command),
      report,
      onError,
      delay: (ms) => runtime.delay(ms),
    });
    this.#reporting = setInterval(() => this.#reportCounts(), limits.metricsReport.value);
    this.#reporting.unref();
    warm.heed((message) => this.#heed(message));
    const handlers: LinkHandlers = {
      event: (event) => this.#event(event),
      tunnel: (name, connection) => this.#tunnel(name, connection),
      stdio: (id, name, stream) =>
        id === 'main' ? this.#started && this.#stdio.wire(name, stream) : this.#execs.wire(id, name, stream),
      ended: (end) => this.#linkEnded(end),
    };
    this.#link = new LinkServer(options.socket, handlers, { renewal: options.renewal });
    // Both at once: init does one after the other, and refuses the second when it cannot do the first.
    this.#link.send({ type: 'configure', listen });
    this.#start().catch(onError);
  }

  #reportCounts(): void {
    const counts = this.#counter.take();
    if (counts !== null) this.#options.report({ type: 'egress-counted', counts });
  }

  /** What people see of it; decisions wait for nobody. */
  #reportPolicy(): void {
    const { warm, runtime } = this.#options;
    warm.reportPolicyStatus(this.#policy.generation).catch((error: unknown) => {
      runtime.log(`the policy's generation was not reported: ${error instanceof Error ? error.message : ''}`);
    });
  }

  attach(socket: Duplex, order: SidecarAttach): void {
    const { attachId, foreground, process } = order;
    const { report, runtime } = this.#options;
    const gate = order.input
      ? inputGate(
          this.#turns,
          asUserId(order.user),
          () => report({ type: 'input', attachId }),
          (ms) => runtime.delay(ms),
        )
      : null;
    if (process === undefined) this.#stdio.attach(socket, attachId, foreground, gate);
    else if (!this.#execs.attach(process, socket, attachId, gate)) socket.destroy();
    report({ type: 'handed', attachId });
  }

  exec(order: SidecarExec): void {
    if (this.#started && this.#end === undefined && !this.#failed) this.#execs.begin(order);
    else this.#options.report({ type: 'exec-exited', process: order.process, code: null, signal: null });
  }

  signal(signal: number): void {
    this.#link.send({ type: 'signal', id: 'main', signal });
  }

  /** The control plane says why it is over: everyone attached is told, then nothing is left. */
  async finish(reason: EndReason): Promise<void> {
    this.#failed = true;
    await Promise.all([
      this.#stdio.finish(this.#end ?? { code: null, signal: null }, reason),
      this.#execs.finish(reason),
    ]);
    this.#link.send({ type: 'stop' });
    this.#link.close();
    this.#agent.close();
    this.#egress.close();
    clearInterval(this.#reporting);
    this.#reportCounts();
    await this.#trail.settled();
  }

  #heed(message: ControlMessage): void {
    switch (message.type) {
      case 'turn-open':
        return this.#turns.open(message.turn_id, message.user, {
          expiresAt: message.expires_at * 1000,
          onceOnly: message.once_only,
        });
      case 'turn-close':
        return this.#turns.close(message.turn_id);
      case 'consent':
        return this.#permissions.heed(message);
      case 'identity-revoked':
        return this.#options.warm.revoke(message.serials);
      case 'grant-revoked':
        return this.#grants.revoke(message.grant_id);
      case 'provider-gone':
        return this.#options.warm.providerGone(message.domain);
      case 'policy':
        return this.#changePolicy(message.policy);
    }
  }

  /** In one step, then said. A policy that cannot be prepared ends the session: neither the old one nor none may hold (invariant 8). */
  #changePolicy(next: SidecarPolicy): void {
    try {
      if (this.#policy.apply(next, this.#grants)) {
        this.#egress.recheck();
        void this.#trail.event({
          stamp: this.#turns.stamp(),
          operation: 'policy.applied',
          argsHash: null,
          decision: 'allow',
          rule: `generation.${next.generation}`,
        });
      }
    } catch (error) {
      return this.#options.onError(error);
    }
    // Also where it is applied already: whoever says it again has not heard of it.
    if (this.#started) this.#reportPolicy();
  }

  #tunnel(name: string, connection: Duplex): boolean {
    if (name === 'api') this.#agent.handle(connection);
    else if (name === 'egress') this.#egress.handle(connection);
    else return false;
    return true;
  }

  #event(event: Exclude<LinkEvent, { type: 'renewal' | 'proof' }>): void {
    const { report, onError } = this.#options;
    switch (event.type) {
      case 'hello':
      case 'heartbeat':
      case 'configured':
        return;
      case 'started':
        if (event.id !== 'main') return;
        this.#reportPolicy();
        return report({ type: 'started', pid: event.pid });
      case 'exited':
        if (event.id === 'main') this.#exited({ code: event.code, signal: event.signal }).catch(onError);
        else this.#execs.event(event);
        return;
      case 'failed':
        if (event.id !== 'main' && event.id !== '') return this.#execs.event(event);
        return this.#fail('start-failed', event.code, event.message);
    }
  }

  async #start(): Promise<void> {
    const { activate, runtime } = this.#options;
    const { argv, env, cwd, terminal } = activate.command;
    await Promise.all([
      activate.waitForAttach ? this.#stdio.watched : undefined,
      // The control plane opens the turn before it activates; the bus may be slower than the channel.
      Promise.race([this.#turns.opened, runtime.delay(limits.turnWait.value)]),
    ]);
    if (this.#started || this.#failed) return;
    this.#started = true;
    this.#link.send({ type: 'start', id: 'main', argv, env, cwd, terminal, fd3: null });
  }

  /** Told when those who wait for the output have all of it: nothing is taken down before. */
  async #exited(end: CommandEnd): Promise<void> {
    if (!this.#started || this.#end !== undefined)
      return this.#fail('link-violation', 'EPROTO', 'an exit that was not one');
    this.#end = end;
    await this.#stdio.delivered();
    this.#options.report({ type: 'exited', ...end });
  }

  #linkEnded(end: LinkEnd): void {
    const reason = end.reason === 'closed' ? 'sandbox-died' : end.reason;
    if (this.#end === undefined) this.#fail(reason, 'link', end.detail);
  }

  #fail(reason: EndReason, code: string, detail: string): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#options.report({ type: 'failed', reason, code, detail });
  }
}
