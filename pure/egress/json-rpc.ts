import { matchText } from './glob.ts';

export interface JsonRpcRule {
  readonly methods: readonly string[];
  /** Patterns of the tools that MCP’s `tools/call` may name; none: any that `methods` lets through. */
  readonly tools: readonly string[];
}

/** What is wrong with a JSON-RPC 2.0 body, a message or a batch of them (MCP among them); null: nothing. */
export function jsonRpcProblem(rule: JsonRpcRule, body: unknown): string | null {
  const messages: unknown[] = Array.isArray(body) ? body : [body];
  if (messages.length === 0 || messages.length > 100) return 'a batch has 1 to 100 messages';
  for (const message of messages) {
    if (typeof message !== 'object' || message === null || Array.isArray(message))
      return 'a message is no object';
    const { method, params } = message as { method?: unknown; params?: unknown };
    // An answer to the server's own question has no method.
    if (method === undefined && ('result' in message || 'error' in message)) continue;
    if (typeof method !== 'string') return 'a message names no method';
    if (!rule.methods.some((pattern) => matchText(pattern, method)))
      return `the rule does not allow the method ${quoted(method)}`;
    if (method !== 'tools/call' || rule.tools.length === 0) continue;
    const name: unknown =
      typeof params === 'object' && params !== null && 'name' in params ? params.name : undefined;
    if (typeof name !== 'string' || !rule.tools.some((pattern) => matchText(pattern, name)))
      return `the rule does not allow the tool ${typeof name === 'string' ? quoted(name) : 'without a name'}`;
  }
  return null;
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 60));
