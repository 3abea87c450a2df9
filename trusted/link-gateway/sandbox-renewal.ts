import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { limits, type WorkloadCaller } from '../../pure/contracts/index.ts';
import { renewedPeer, type Clock, type ConnectionRegistry } from '../identity/index.ts';
import type { LinkCommand, LinkRenewal, RenewalEvent } from '../link/index.ts';

/** The CA, asked for its own session's sandbox by the sidecar: PEM in, PEM out, leaf first. */
export interface SandboxRelay {
  join(token: string, csrPem: string): Promise<string>;
  renew(serial: string, csrPem: string): Promise<string>;
}

export interface SandboxRenewalOptions {
  readonly socket: TLSSocket;
  readonly caller: WorkloadCaller;
  readonly leaf: X509Certificate;
  readonly relay: SandboxRelay;
  readonly connections: ConnectionRegistry;
  readonly clock: Clock;
  readonly onRefused: (why: string) => void;
}

type State =
  | { readonly name: 'resting' }
  | { readonly name: 'asked' }
  | { readonly name: 'relayed' }
  | { readonly name: 'to-prove'; readonly leaf: X509Certificate };

/**
 * Keeps the certificate of a link renewed on the link itself, so that no stream of it breaks [R4]: at half-life init makes a
 * new key, the CA certifies it, and init proves over this connection's exporter that it holds it. Until then the connection
 * ends with the old one: whoever has a stolen certificate has no link to renew it over, and whoever has the link has no
 * use for a certificate.
 */
export class SandboxRenewal implements LinkRenewal {
  readonly #options: SandboxRenewalOptions;
  #caller: WorkloadCaller;
  #leaf: X509Certificate;
  #state: State = { name: 'resting' };
  #send: (command: LinkCommand) => void = () => undefined;
  #cancel: () => void = () => undefined;

  constructor(options: SandboxRenewalOptions) {
    this.#options = options;
    this.#caller = options.caller;
    this.#leaf = options.leaf;
    options.socket.once('close', () => this.#cancel());
  }

  begin(send: (command: LinkCommand) => void): void {
    this.#send = send;
    this.#rest();
  }

  heard(event: RenewalEvent): boolean {
    const { name } = this.#state;
    if (event.type === 'renewal') {
      if (name !== 'asked') return false;
      this.#state = { name: 'relayed' };
      this.#relay(event.csr).catch((error: unknown) => {
        this.#options.onRefused(`a renewal failed: ${error instanceof Error ? error.message : 'unknown'}`);
        this.#after(limits.renewalRetry.value);
      });
      return true;
    }
    return this.#state.name === 'to-prove' && this.#believe(this.#state.leaf, event.signature);
  }

  async #relay(csr: string): Promise<void> {
    const chain = certificatesOf(await this.#options.relay.renew(this.#caller.serial, csrPem(csr)));
    const [leaf] = chain;
    if (leaf === undefined || this.#options.socket.destroyed) return;
    this.#state = { name: 'to-prove', leaf };
    this.#send({ type: 'renew', chain: chain.map((one) => one.raw.toString('base64')) });
  }

  #believe(leaf: X509Certificate, signature: string): boolean {
    const { socket, connections } = this.#options;
    const renewed = renewedPeer(socket, this.#caller, leaf, Buffer.from(signature, 'base64'));
    if (!renewed.ok) this.#options.onRefused(renewed.reason);
    if (!renewed.ok || !connections.admit(renewed.value, socket)) return false;
    this.#caller = renewed.value;
    this.#leaf = leaf;
    this.#rest();
    return true;
  }

  /** Until half-life. */
  #rest(): void {
    const [from, to] = [Date.parse(this.#leaf.validFrom), Date.parse(this.#leaf.validTo)];
    this.#after((from + to) / 2 - this.#options.clock.now());
  }

  #after(ms: number): void {
    this.#state = { name: 'resting' };
    this.#cancel();
    if (this.#options.socket.destroyed) return;
    this.#cancel = this.#options.clock.schedule(Math.max(ms, 0), () => {
      this.#state = { name: 'asked' };
      this.#send({ type: 'renew', chain: null });
    });
  }
}

export const csrPem = (base64: string): string =>
  `-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`;

export const certificatesOf = (pem: string): X509Certificate[] =>
  (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
    (one) => new X509Certificate(one),
  );
