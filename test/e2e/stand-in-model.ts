import { createServer, type Server } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SessionAuthority } from '../../trusted/sidecar/session-authority.ts';

export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** One step of the script: what the model says after so many tool results. */
export type Step =
  { readonly text: string } | { readonly tool: string; readonly input: Record<string, unknown> };

/**
 * A stand-in for a model's API on the wire: TLS with an authority of its own, the Messages API's streamed form, scripted answers. It is
 * reached through the gateway by the same rules as the real one.
 */
export class StandInModel {
  readonly seen: Seen[] = [];
  readonly caPem: string;
  readonly port: number;
  readonly #server: Server;

  private constructor(server: Server, caPem: string) {
    this.#server = server;
    this.caPem = caPem;
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(host: string, script: (results: readonly string[]) => Step): Promise<StandInModel> {
    const authority = await SessionAuthority.create('stand-in', Date.now(), 86_400_000);
    const { keyPem, chainPem } = await authority.issue(host, Date.now());
    const server = createServer({ key: keyPem, cert: chainPem });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const model = new StandInModel(server, authority.certificatePem);
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      let body = '';
      request.setEncoding('utf8');
      request.on('data', (chunk: string) => (body += chunk));
      request.on('end', () => {
        model.seen.push({
          method: request.method ?? '',
          path: request.url ?? '',
          headers: request.headers,
          body,
        });
        if (request.method !== 'POST' || !(request.url ?? '').startsWith('/v1/messages'))
          response.writeHead(request.method === 'HEAD' ? 200 : 404).end();
        else if ((request.url ?? '').includes('count_tokens'))
          response.writeHead(200, { 'content-type': 'application/json' }).end('{"input_tokens":10}');
        else answer(response, JSON.parse(body) as Conversation, script);
      });
    });
    return model;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

interface Conversation {
  readonly model: string;
  readonly stream?: boolean;
  readonly tools?: readonly { readonly name: string }[];
  readonly messages: readonly {
    readonly role: string;
    readonly content: string | readonly { readonly type: string; readonly content?: unknown }[];
  }[];
}

function answer(
  response: ServerResponse,
  conversation: Conversation,
  script: (results: readonly string[]) => Step,
): void {
  const results = conversation.messages.flatMap(({ content }) =>
    typeof content === 'string'
      ? []
      : content.filter(({ type }) => type === 'tool_result').map((result) => JSON.stringify(result.content)),
  );
  // Requests without tools are side errands (titles and such).
  const step: Step = (conversation.tools ?? []).length === 0 ? { text: 'ok' } : script(results);
  const block =
    'text' in step
      ? { type: 'text', text: step.text }
      : { type: 'tool_use', id: `toolu_${String(results.length)}`, name: step.tool, input: step.input };
  const message = {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: conversation.model,
    stop_sequence: null,
    stop_reason: 'text' in step ? 'end_turn' : 'tool_use',
    usage: { input_tokens: 10, output_tokens: 10 },
  };
  if (conversation.stream !== true) {
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ ...message, content: [block] }));
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (type: string, data: object): void => {
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  };
  send('message_start', { message: { ...message, content: [], stop_reason: null } });
  if ('text' in step) {
    send('content_block_start', { index: 0, content_block: { type: 'text', text: '' } });
    send('content_block_delta', { index: 0, delta: { type: 'text_delta', text: step.text } });
  } else {
    send('content_block_start', { index: 0, content_block: { ...block, input: {} } });
    send('content_block_delta', {
      index: 0,
      delta: { type: 'input_json_delta', partial_json: JSON.stringify(step.input) },
    });
  }
  send('content_block_stop', { index: 0 });
  send('message_delta', {
    delta: { stop_reason: message.stop_reason, stop_sequence: null },
    usage: { output_tokens: 10 },
  });
  send('message_stop', {});
  response.end();
}
