import { fork, type ChildProcess } from 'node:child_process';
import type { JSONWebKeySet } from 'jose';
import type { z } from 'zod';
import {
  GloveboxError,
  identityOf,
  limits,
  type ConsentClaims,
  type SpiffeId,
} from '../../pure/contracts/index.ts';
import type { BusAnswer, BusPublicKeys } from '../bus/index.ts';
import type { CaCertificates } from './ca-rotation.ts';
import {
  bundleResult,
  caCertificatesResult,
  emptyResult,
  busAnswerResult,
  busKeysResult,
  publicKeysResult,
  rootPhaseResult,
  signerResponse,
  svidResult,
  tokenResult,
  type RootStep,
  type SignerMethod,
} from './protocol.ts';

export interface SignerOptions {
  /** The bundle (dist/signer.js), or main.ts with `execArgv` of a loader. */
  readonly entry: string;
  readonly keysFolder: string;
  readonly trustDomain: string;
  readonly execArgv?: readonly string[];
  readonly onStderr?: (text: string) => void;
}

export interface Svid {
  readonly chainPem: string;
  /** Lower-case hex. */
  readonly serial: string;
  readonly notAfter: Date;
}

export interface SvidOrder {
  readonly csrPem: string;
  readonly spiffeId: SpiffeId;
  readonly ttlSeconds: number;
  readonly dnsNames?: readonly string[];
}

/** What others need of the signer; SignerClient is the one that the product uses. */
export interface Signer {
  issueSvid(order: SvidOrder): Promise<Svid>;
  bundle(): Promise<string>;
  caCertificates(): Promise<CaCertificates>;
  rotateIssuing(): Promise<void>;
  rootPhase(): Promise<RootStep>;
  rotateRoot(step: RootStep): Promise<RootStep>;
  signConsent(claims: ConsentClaims): Promise<string>;
  signControl(payload: ControlPayload): Promise<string>;
  signCheckpoint(payload: object): Promise<string>;
  publicKeys(): Promise<JSONWebKeySet>;
  /** The public half of what user JWTs of the bus are signed and sealed with; the same after a restart of the signer. */
  busKeys(): Promise<BusPublicKeys>;
}

/** Revocations in the order in which they were said; `from`: how many were said before these. */
export interface RevokedSerials {
  readonly from: number;
  readonly serials: readonly string[];
}

export interface ControlPayload {
  readonly session_id: string;
  readonly seq: number;
  readonly type: string;
}

export interface SignerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

interface Pending {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** Starts the signer and speaks to it over the channel that only the two of them have. */
export class SignerClient implements Signer {
  readonly #child: ChildProcess;
  readonly #pending = new Map<number, Pending>();
  readonly #exitListeners = new Set<(exit: SignerExit) => void>();
  readonly #exited: Promise<SignerExit>;
  #exit: SignerExit | undefined;
  #lastId = 0;

  private constructor(options: SignerOptions) {
    // An empty environment: no NODE_OPTIONS of the parent, nothing of the person's shell beside the keys.
    this.#child = fork(options.entry, [], {
      execArgv: [...(options.execArgv ?? [])],
      env: {},
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'json',
    });
    this.#child.stderr?.setEncoding('utf8');
    this.#child.stderr?.on('data', (text: string) => options.onStderr?.(text));
    this.#child.on('message', (message) => this.#settle(message));
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => resolve(this.#end({ code, signal })));
      this.#child.once('error', () => resolve(this.#end({ code: null, signal: null })));
    });
  }

  static async start(options: SignerOptions): Promise<SignerClient> {
    const client = new SignerClient(options);
    try {
      const { keysFolder, trustDomain } = options;
      await client.#call('bootstrap', { keysFolder, trustDomain });
      return client;
    } catch (error) {
      await client.close();
      throw error;
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  async issueSvid(order: SvidOrder): Promise<Svid> {
    const result = await this.#ask('issueSvid', order, svidResult);
    return { ...result, notAfter: new Date(result.notAfter) };
  }

  /** PEM of the root, or of two while one takes the other's place: what everyone in the trust domain trusts. */
  async bundle(): Promise<string> {
    return (await this.#ask('bundle', {}, bundleResult)).bundlePem;
  }

  async caCertificates(): Promise<CaCertificates> {
    return await this.#ask('caCertificates', {}, caCertificatesResult);
  }

  async rotateIssuing(): Promise<void> {
    await this.#ask('rotateIssuing', {}, emptyResult);
  }

  /** The step that a rotation of the root is to take next; `announce` where none is under way. */
  async rootPhase(): Promise<RootStep> {
    return (await this.#ask('rootPhase', {}, rootPhaseResult)).next;
  }

  async rotateRoot(step: RootStep): Promise<RootStep> {
    return (await this.#ask('rotateRoot', { step }, rootPhaseResult)).next;
  }

  async signConsent(claims: ConsentClaims): Promise<string> {
    return (await this.#ask('signConsent', claims, tokenResult)).token;
  }

  async signControl(payload: ControlPayload): Promise<string> {
    return (await this.#ask('signControl', payload, tokenResult)).token;
  }

  async signCheckpoint(payload: object): Promise<string> {
    return (await this.#ask('signCheckpoint', payload, tokenResult)).token;
  }

  async publicKeys(): Promise<JSONWebKeySet> {
    const { keys } = await this.#ask('publicKeys', {}, publicKeysResult);
    return { keys: keys.map(({ d: _, ...key }) => key) };
  }

  async busKeys(): Promise<BusPublicKeys> {
    return await this.#ask('busKeys', {}, busKeysResult);
  }

  /** One sealed question of nats-server. `revoked`: what this signer was not told of yet; with a gap it does not answer. */
  async authorizeBus(sealed: Uint8Array, serverXkey: string, revoked: RevokedSerials): Promise<BusAnswer> {
    const question = { sealed: Buffer.from(sealed).toString('base64'), serverXkey, revoked };
    const answer = await this.#ask('authorizeBus', question, busAnswerResult);
    const { decision } = answer;
    return {
      sealed: answer.sealed === null ? undefined : Buffer.from(answer.sealed, 'base64'),
      decision: decision.allowed
        ? {
            allowed: true,
            client: decision.client,
            certificate: {
              identity: identityOf(decision.spiffeId as SpiffeId),
              serial: decision.serial,
              notBefore: new Date(decision.notBefore),
              notAfter: new Date(decision.notAfter),
            },
          }
        : decision,
    };
  }

  /** Called once, at once if it is over already. Returns how to take the listener away. */
  onExit(listener: (exit: SignerExit) => void): () => void {
    if (this.#exit !== undefined) {
      listener(this.#exit);
      return () => undefined;
    }
    this.#exitListeners.add(listener);
    return () => void this.#exitListeners.delete(listener);
  }

  /** Closes the channel, at which the signer ends by itself. */
  async close(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#exited;
  }

  async #ask<S extends z.ZodType>(method: SignerMethod, params: object, schema: S): Promise<z.infer<S>> {
    return schema.parse(await this.#call(method, params));
  }

  #call(method: SignerMethod, params: object): Promise<unknown> {
    if (this.#exit !== undefined || !this.#child.connected) return Promise.reject(gone());
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          this.#fail(id, new GloveboxError('GB_SIGNER_UNAVAILABLE', { detail: 'it did not answer in time' })),
        limits.signerAnswer.value,
      );
      this.#pending.set(id, { resolve, reject, timer });
      this.#child.send({ id, method, params }, (error) => {
        if (error !== null) this.#fail(id, gone());
      });
    });
  }

  #settle(message: unknown): void {
    const parsed = signerResponse.safeParse(message);
    if (!parsed.success) return;
    const response = parsed.data;
    const pending = this.#pending.get(response.id);
    if (pending === undefined) return;
    if (!response.ok)
      return this.#fail(response.id, new GloveboxError(response.error.code, response.error.details));
    this.#pending.delete(response.id);
    clearTimeout(pending.timer);
    pending.resolve(response.result);
  }

  #fail(id: number, error: GloveboxError): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    pending.reject(error);
  }

  #end(exit: SignerExit): SignerExit {
    if (this.#exit !== undefined) return this.#exit;
    this.#exit = exit;
    for (const id of [...this.#pending.keys()]) this.#fail(id, gone());
    for (const listener of this.#exitListeners) listener(exit);
    this.#exitListeners.clear();
    return exit;
  }
}

const gone = (): GloveboxError =>
  new GloveboxError('GB_SIGNER_UNAVAILABLE', { detail: 'its process has ended' });
