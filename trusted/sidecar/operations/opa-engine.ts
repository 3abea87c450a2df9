import { Agent, request } from 'node:http';
import { limits, type EngineChoice } from '../../../pure/contracts/index.ts';
import { compileOpa, opaInput, opaVerdict, type OpaPolicy } from '../../../pure/compile/index.ts';
import type { PolicyEngine, PolicyQuestion, PolicyVerdict } from '../../../pure/policy/index.ts';

type Tools = Parameters<typeof compileOpa>[0];

/** Where the server is: a Unix socket, which nobody else can take the place of while its folder is the operator's. */
export type OpaServer = Pick<EngineChoice, 'socket' | 'token'>;

/**
 * A server of others that decides: Open Policy Agent with deploy/opa/bundle. It is asked for each operation and keeps nothing of a
 * session. No answer, a late one, one that cannot be read or that permits more than the session's policy: deny (R40).
 */
export class OpaEngine implements PolicyEngine {
  readonly #tools: Tools;
  readonly #policy: OpaPolicy;
  readonly #server: OpaServer;
  readonly #agent: Agent;

  private constructor(tools: Tools, server: OpaServer, agent: Agent) {
    this.#tools = tools;
    this.#policy = compileOpa(tools);
    this.#server = server;
    this.#agent = agent;
  }

  static prepare(tools: Tools, server: OpaServer, agent: Agent = new Agent({ keepAlive: true })): OpaEngine {
    return new OpaEngine(tools, server, agent);
  }

  async decide(question: PolicyQuestion): Promise<PolicyVerdict> {
    try {
      const input = opaInput(this.#policy, question);
      if (input === undefined) return { decision: 'deny', rule: 'scope.unreadable' };
      return opaVerdict(this.#tools, question, await this.#post(JSON.stringify({ input })));
    } catch {
      // Whatever it threw: a decision that was not made is a denial (invariant 8).
      return { decision: 'deny', rule: 'engine.failed' };
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(body: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const asked = request(
        {
          socketPath: this.#server.socket,
          agent: this.#agent,
          method: 'POST',
          path: '/v1/data/glovebox/decision',
          headers: {
            host: 'opa',
            authorization: `Bearer ${this.#server.token}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
          },
          signal: AbortSignal.timeout(limits.policyDecision.value),
        },
        (response) => {
          const parts: Buffer[] = [];
          let size = 0;
          response.on('error', reject);
          response.on('data', (part: Buffer) => {
            size += part.length;
            if (size > limits.policyAnswer.value) response.destroy(new Error('the answer is too long'));
            else parts.push(part);
          });
          response.on('end', () => {
            try {
              if (response.statusCode !== 200) throw new Error(`status ${String(response.statusCode)}`);
              resolve(JSON.parse(Buffer.concat(parts).toString('utf8')));
            } catch (error) {
              reject(error instanceof Error ? error : new Error('the answer cannot be read'));
            }
          });
        },
      );
      asked.on('error', reject);
      asked.end(body);
    });
  }
}
