import type { Duplex } from 'node:stream';
import {
  endReasons,
  limits,
  sidecarCommand,
  type EndReason,
  type SidecarActivate,
  type SidecarBootstrap,
} from '../../pure/contracts/index.ts';
import type { LinkRenewal } from '../link/index.ts';
import { LiveSession } from './live-session.ts';
import type { Report } from './report.ts';
import type { Runtime } from './runtime.ts';
import { warmUp, type Warm } from './warm.ts';

export interface SidecarOptions {
  readonly report: Report;
  readonly runtime: Runtime;
  /** Ends the process, at once. */
  readonly exit: (code: number, why: string) => void;
  readonly warmUp?: typeof warmUp;
}

type State =
  | { readonly name: 'new' }
  | { readonly name: 'warming' }
  | { readonly name: 'warm'; readonly warm: Warm }
  | { readonly name: 'awaiting'; readonly warm: Warm }
  | { readonly name: 'live'; readonly warm: Warm; readonly live: LiveSession }
  | { readonly name: 'over' };

/** One session's sidecar, told what to do over its inherited channel. A word that does not fit its state ends it. */
export class Sidecar {
  readonly #options: SidecarOptions;
  #state: State = { name: 'new' };

  constructor(options: SidecarOptions) {
    this.#options = options;
  }

  command(value: unknown, handle: Duplex | undefined): void {
    const parsed = sidecarCommand.safeParse(value);
    if (!parsed.success) return this.#die('a command that is not one');
    const command = parsed.data;
    switch (command.type) {
      case 'bootstrap':
        return this.#bootstrap(command);
      case 'activate':
        return this.#activate(command, handle);
      case 'attach':
        if (handle === undefined) return this.#lateAttach(command.attachId);
        if (this.#state.name === 'live') this.#state.live.attach(handle, command);
        else handle.destroy();
        return;
      case 'exec':
        if (this.#state.name === 'live') this.#state.live.exec(command);
        return;
      case 'signal':
        if (this.#state.name === 'live') this.#state.live.signal(command.signal);
        return;
      case 'end':
        return this.#end(endReasons.find((reason) => reason === command.reason) ?? 'stopped');
    }
  }

  /** Whatever went wrong unforeseen: a sidecar in a state that nobody thought of is a session's end (invariant 8). */
  failed(error: unknown): void {
    this.#die(error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown failure');
  }

  #bootstrap(bootstrap: SidecarBootstrap): void {
    if (this.#state.name !== 'new') return this.#die('a second bootstrap');
    this.#state = { name: 'warming' };
    const { runtime, report } = this.#options;
    (this.#options.warmUp ?? warmUp)(bootstrap, runtime, (why) => this.#lost(why)).then(
      (warm) => {
        if (this.#state.name !== 'warming') return void warm.close();
        this.#state = { name: 'warm', warm };
        const caPem = warm.authority.certificatePem;
        report({ type: 'warm', caPem, ...(warm.gateway === null ? {} : { gatewayPort: warm.gateway.port }) });
      },
      (error: unknown) => this.failed(error),
    );
  }

  #activate(activate: SidecarActivate, socket: Duplex | undefined): void {
    if (this.#state.name !== 'warm') return this.#die('an activation out of turn');
    const { warm } = this.#state;
    if (socket !== undefined && warm.gateway === null) return this.#live(warm, activate, { socket });
    if (socket !== undefined || warm.gateway === null) return this.#die('an activation without a link');
    this.#state = { name: 'awaiting', warm };
    const late = this.#options.runtime.delay(limits.linkStart.value);
    Promise.race([warm.gateway.linked, late]).then(
      (link) => {
        if (this.#state.name !== 'awaiting') return;
        if (link === undefined) this.#die('the sandbox did not come');
        else this.#live(warm, activate, link);
      },
      (error: unknown) => this.failed(error),
    );
  }

  #live(warm: Warm, activate: SidecarActivate, link: { socket: Duplex; renewal?: LinkRenewal }): void {
    const { report, runtime } = this.#options;
    const onError = (error: unknown): void => this.failed(error);
    const live = new LiveSession({ warm, activate, ...link, report, runtime, onError });
    this.#state = { name: 'live', warm, live };
  }

  /** The client went away while its connection was on the way here. */
  #lateAttach(attachId: string): void {
    this.#options.report({ type: 'detached', attachId, foreground: false, orderly: false });
  }

  #lost(why: string): void {
    // Without identity or bus there is no policy, no audit, no control: nothing may go on.
    this.#die(why);
  }

  #end(reason: EndReason): void {
    const state = this.#state;
    this.#state = { name: 'over' };
    const { exit, runtime } = this.#options;
    if (state.name !== 'live') return exit(0, 'ended');
    const done = async (): Promise<void> => {
      await Promise.race([state.live.finish(reason), runtime.delay(limits.endWait.value)]);
      await Promise.race([state.warm.close(), runtime.delay(1000)]);
    };
    done().then(
      () => exit(0, 'ended'),
      (error: unknown) => exit(1, error instanceof Error ? error.name : 'an unknown failure'),
    );
  }

  #die(why: string): void {
    this.#options.runtime.log(`the sidecar ends: ${why}`);
    this.#options.exit(1, why);
  }
}
