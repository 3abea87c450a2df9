import type { ClientRequest } from 'node:http';
import type { CompiledRule } from '../../pure/egress/index.ts';
import type { Resolve } from '../outbound/index.ts';
import type { OutgoingRequest, Sending, Target } from './sending.ts';
import { Http1Upstreams } from './upstream-http1.ts';
import { Http2Upstreams } from './upstream-http2.ts';

/** Connections to upstreams, kept for each rule: never shared between rules or sessions. */
export interface Upstreams {
  /** A client of HTTP/2 gets HTTP/2 where the upstream speaks it (gRPC needs both sides); all others HTTP/1.1. */
  send(rule: CompiledRule, target: Target, request: OutgoingRequest, http2: boolean): Sending;
  /** A WebSocket: HTTP/1.1 always. */
  upgrade(rule: CompiledRule, target: Target, request: OutgoingRequest): ClientRequest;
  /** After a change of policy: no connection that an earlier rule opened, by its addresses and authorities, serves a later one. */
  renew(): void;
  close(): void;
}

export function createUpstreams(resolve: Resolve): Upstreams {
  const http1 = new Http1Upstreams(resolve);
  const http2 = new Http2Upstreams(resolve);
  return {
    send: (rule, target, request, wanted) => {
      if (!wanted || rule.plaintext) return http1.send(rule, target, request);
      let sending: Sending | null = null;
      let aborted = false;
      const answer = http2.session(rule, target).then((session) => {
        if (aborted) throw new Error('the client is gone');
        sending = session === null ? http1.send(rule, target, request) : http2.send(session, target, request);
        return sending.answer;
      });
      return {
        answer,
        address: () => sending?.address() ?? null,
        abort: () => {
          aborted = true;
          sending?.abort();
        },
      };
    },
    upgrade: (rule, target, request) => http1.upgrade(rule, target, request),
    renew: () => {
      http1.renew();
      http2.renew();
    },
    close: () => {
      http1.close();
      http2.close();
    },
  };
}
