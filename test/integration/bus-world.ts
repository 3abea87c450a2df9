import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  asSessionId,
  spiffeId,
  type SessionId,
  type SpiffeId,
  type Workload,
} from '../../pure/contracts/index.ts';
import { natsServerPath } from '../../trusted/bus/testing.ts';
import { layGround, trustDomain, type Ground } from '../../trusted/control-plane/ground.ts';
import { createLog } from '../../trusted/control-plane/log.ts';
import { programsBeside } from '../../trusted/control-plane/programs.ts';
import type { SvidMaterial, SvidSource } from '../../trusted/identity/index.ts';
import { joinWorkload, type RouteServer } from '../../trusted/workload-http/index.ts';
import { serveProvider, type Operation } from '../../untrusted/provider-sdk/index.ts';
import { build } from '../../tools/build.mjs';
import { dist } from '../../tools/setup/paths.mjs';
import { newId } from './sidecar-world.ts';

export { trustDomain };

/** What the daemon stands on (signer, store, nats-server, audit, workload API), with certificates that live for seconds. */
export class BusWorld {
  readonly state: string;
  readonly ground: Ground;
  readonly api: RouteServer;
  readonly log: string[];
  /** Why a provider ended, if one did. */
  readonly ended: string[] = [];
  readonly #undo: (() => unknown)[];

  private constructor(
    state: string,
    ground: Ground,
    api: RouteServer,
    log: string[],
    undo: (() => unknown)[],
  ) {
    this.state = state;
    this.ground = ground;
    this.api = api;
    this.log = log;
    this.#undo = undo;
  }

  static async start(certificateSeconds: number): Promise<BusWorld> {
    await build();
    const state = mkdtempSync(join(tmpdir(), 'glovebox-bus-world-'));
    const undo: (() => unknown)[] = [() => rmSync(state, { recursive: true, force: true })];
    mkdirSync(join(state, 'jail'), { mode: 0o700 });
    const lines: string[] = [];
    const log = createLog();
    log.level = 'silent';
    log.info = (text: unknown) => void lines.push(String(text));
    log.error = (facts: unknown, text?: unknown) =>
      void lines.push(`${String(text)} ${JSON.stringify(facts)}`);
    const programs = programsBeside(pathToFileURL(join(dist, 'control-plane.js')).href);
    const ground = await layGround(
      {
        state,
        socket: join(state, 'operator.sock'),
        programs,
        natsServer: natsServerPath,
        log,
        certificateSeconds,
      },
      undo,
    );
    const unused = (): Promise<never> => Promise.reject(new Error('not in this test'));
    const api = await ground.serveWorkloads({
      join: async ({ body }) => answerOf(await ground.authority.join(body.token, body.csr)),
      renew: async ({ caller, body }) => answerOf(await ground.authority.renew(caller, body.csr)),
      getSandboxPolicy: unused,
      joinSandbox: unused,
      renewSandbox: unused,
      getSandboxProviderEnvironment: unused,
      reportPolicyStatus: unused,
      requestConsent: unused,
      consumeConsent: unused,
      cancelConsent: unused,
      useGrant: unused,
      secretBindings: unused,
    });
    return new BusWorld(state, ground, api, lines, undo);
  }

  get bus(): { readonly host: string; readonly port: number } {
    return { host: this.ground.bus.host, port: this.ground.bus.port };
  }

  /** A real certificate of that identity, from the real CA. */
  async certificate(workload: Workload): Promise<SvidMaterial> {
    const source = await this.#join(spiffeId(trustDomain, workload));
    const svid = source.current();
    source.close();
    return svid;
  }

  async sidecar(): Promise<{ readonly session: SessionId; readonly identity: SvidSource }> {
    const session = asSessionId(newId());
    return { session, identity: await this.#join(spiffeId(trustDomain, { kind: 'sidecar', session })) };
  }

  /** Served by the product's own SDK, in this process. */
  async provider(
    domain: string,
    name: string,
    operations: Readonly<Record<string, Operation>>,
  ): Promise<void> {
    const id = spiffeId(trustDomain, { kind: 'provider', domain, name });
    const joinToken = await this.ground.authority.createJoinToken(id);
    const { bundlePem } = this.ground.identity.current();
    void serveProvider(
      {
        joinToken,
        domain,
        name,
        trustDomain,
        workloadApi: { host: this.api.host, port: this.api.port },
        bus: this.bus,
        bundlePem,
        settings: {},
      },
      operations,
    ).catch((error: unknown) => this.ended.push(String(error)));
  }

  async close(): Promise<void> {
    for (const step of this.#undo.splice(0).reverse()) await step();
  }

  async #join(expectedId: SpiffeId): Promise<SvidSource> {
    return await joinWorkload({
      workloadApi: this.api,
      joinToken: await this.ground.authority.createJoinToken(expectedId),
      bundlePem: this.ground.identity.current().bundlePem,
      trustDomain,
      expectedId,
    });
  }
}

const answerOf = ({
  chainPem,
  bundlePem,
  notAfter,
}: Pick<SvidMaterial, 'chainPem' | 'bundlePem' | 'notAfter'>) => ({
  chainPem,
  bundlePem,
  notAfter: notAfter.toISOString(),
});
