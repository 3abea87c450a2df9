import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { LookupFunction } from 'node:net';
import { rootCertificates } from 'node:tls';
import { GloveboxError } from '../../pure/contracts/index.ts';
import { addressAllowed, type CompiledRule } from '../../pure/egress/index.ts';

/** Connections to upstreams, kept for each rule: never shared between rules or sessions. */
export interface Upstreams {
  open(rule: CompiledRule, target: Target, headers: readonly string[], method: string): ClientRequest;
  /** After a change of policy: no connection that an earlier rule opened, by its addresses and authorities, serves a later one. */
  renew(): void;
  close(): void;
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

const keep = { keepAlive: true, maxSockets: 64, maxFreeSockets: 8, scheduling: 'lifo' } as const;

export function createUpstreams(resolve: (host: string) => Promise<readonly string[]>): Upstreams {
  // By the rule itself: the next generation of a policy has rules of the same names.
  const agents = new Map<CompiledRule, HttpAgent | HttpsAgent>();
  const agentOf = (rule: CompiledRule): HttpAgent | HttpsAgent => {
    let agent = agents.get(rule);
    if (agent === undefined) {
      const ca = rule.caPem === undefined ? undefined : [...rootCertificates, rule.caPem];
      agent = rule.plaintext
        ? new HttpAgent(keep)
        : new HttpsAgent({
            ...keep,
            minVersion: 'TLSv1.2',
            ALPNProtocols: ['http/1.1'],
            ...(ca === undefined ? {} : { ca }),
          });
      agents.set(rule, agent);
    }
    return agent;
  };
  return {
    open: (rule, target, headers, method) => {
      const options: RequestOptions = {
        agent: agentOf(rule),
        host: target.host,
        port: target.port,
        path: target.path,
        method,
        // Flat name, value, name, value: order and duplicates as the client sent them.
        headers,
        setHost: false,
        lookup: checkedLookup(resolve, rule),
      };
      return rule.plaintext ? httpRequest(options) : httpsRequest({ ...options, servername: target.host });
    },
    renew: () => {
      const before = [...agents.values()];
      agents.clear();
      for (const agent of before) closeIdle(agent);
    },
    close: () => {
      for (const agent of agents.values()) agent.destroy();
    },
  };
}

/** What is in use serves its request to the end and is not kept. */
function closeIdle(agent: HttpAgent | HttpsAgent): void {
  for (const sockets of Object.values(agent.freeSockets))
    for (const socket of sockets ?? []) socket.destroy();
  agent.maxFreeSockets = 0;
}

/**
 * Resolves once, checks every address, and hands out exactly what was checked: the socket connects to that, so a name whose
 * answer changes in between changes nothing (R18). One refused address refuses the name.
 */
function checkedLookup(
  resolve: (host: string) => Promise<readonly string[]>,
  rule: CompiledRule,
): LookupFunction {
  return (host, options, callback) => {
    resolve(host).then(
      (addresses) => {
        const refused = addresses.find((address) => !addressAllowed(address, rule.privateRanges));
        const checked = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
        const [first] = checked;
        if (refused !== undefined || first === undefined) {
          callback(
            new AddressRefused(
              refused === undefined
                ? 'the name has no address'
                : `it resolves to ${refused}, which is not public`,
            ),
            '',
          );
        } else if (options.all === true) callback(null, checked);
        else callback(null, first.address, first.family);
      },
      (error: unknown) => {
        callback(error instanceof Error ? error : new Error('the name could not be resolved'), '');
      },
    );
  };
}

/** The name leads somewhere that its rule does not allow. */
export class AddressRefused extends Error {
  constructor(detail: string) {
    super(detail);
    this.name = 'AddressRefused';
  }
}

export const upstreamError = (host: string, error: Error): GloveboxError => {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
  return new GloveboxError('GB_UPSTREAM_FAILED', { what: host, detail: code }, { cause: error });
};
