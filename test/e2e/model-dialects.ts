/** One step of the script: what the model says after so many tool results. */
export type Step =
  { readonly text: string } | { readonly tool: string; readonly input: Record<string, unknown> };

/** What a tool answered, as it came: each dialect carries it in a way of its own. */
export interface Asked {
  readonly results: readonly string[];
  /** A side errand (a title, a check of the key) offers the model no tool. */
  readonly errand: boolean;
  readonly streamed: boolean;
}

/** An answer as server-sent events, and as the one JSON value of a request that does not stream. */
export interface Answer {
  readonly events: readonly { readonly event?: string; readonly data: unknown }[];
  readonly whole: unknown;
}

/** One API that models are asked over. */
export interface Dialect {
  readonly path: RegExp;
  /** What closes a stream, after the last event. */
  readonly end?: string;
  read(path: string, body: unknown): Asked;
  answer(step: Step, count: number): Answer;
}

type Json = Readonly<Record<string, unknown>>;
const list = (value: unknown): readonly Json[] => (Array.isArray(value) ? (value as Json[]) : []);
const object = (value: unknown): Json => (typeof value === 'object' && value !== null ? (value as Json) : {});

/** Anthropic's Messages API. */
export const messages: Dialect = {
  path: /\/v1\/messages(\?|$)/,
  read: (_, body) => {
    const { messages: turns, tools, stream } = object(body);
    const results = list(turns)
      .flatMap(({ content }) => list(content))
      .filter(({ type }) => type === 'tool_result')
      .map(({ content }) => JSON.stringify(content));
    return { results, errand: list(tools).length === 0, streamed: stream === true };
  },
  answer: (step, count) => {
    const said = 'text' in step;
    const block = said
      ? { type: 'text', text: step.text }
      : { type: 'tool_use', id: `toolu_${String(count)}`, name: step.tool, input: step.input };
    const message = {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'stand-in',
      stop_sequence: null,
      stop_reason: said ? 'end_turn' : 'tool_use',
      usage: { input_tokens: 10, output_tokens: 10 },
    };
    const event = (type: string, data: object): Answer['events'][number] => ({
      event: type,
      data: { type, ...data },
    });
    const delta = said
      ? { type: 'text_delta', text: step.text }
      : { type: 'input_json_delta', partial_json: JSON.stringify(step.input) };
    return {
      events: [
        event('message_start', { message: { ...message, content: [], stop_reason: null } }),
        event('content_block_start', {
          index: 0,
          content_block: said ? { ...block, text: '' } : { ...block, input: {} },
        }),
        event('content_block_delta', { index: 0, delta }),
        event('content_block_stop', { index: 0 }),
        event('message_delta', {
          delta: { stop_reason: message.stop_reason, stop_sequence: null },
          usage: { output_tokens: 10 },
        }),
        event('message_stop', {}),
      ],
      whole: { ...message, content: [block] },
    };
  },
};

/** OpenAI's Responses API. */
export const responses: Dialect = {
  path: /\/responses(\?|$)/,
  read: (_, body) => {
    const { input, tools, stream } = object(body);
    const results = list(input)
      .filter(({ type }) => type === 'function_call_output' || type === 'custom_tool_call_output')
      .map(({ output }) => JSON.stringify(output));
    const offered = [...list(tools), ...list(input).filter(({ type }) => type === 'additional_tools')];
    return { results, errand: offered.length === 0, streamed: stream === true };
  },
  answer: (step, count) => {
    const item =
      'text' in step
        ? {
            type: 'message',
            id: `msg_${String(count)}`,
            role: 'assistant',
            status: 'completed',
            content: [{ type: 'output_text', text: step.text, annotations: [] }],
          }
        : {
            type: 'function_call',
            id: `fc_${String(count)}`,
            call_id: `call_${String(count)}`,
            status: 'completed',
            ...namespaced(step.tool),
            arguments: JSON.stringify(step.input),
          };
    const whole = {
      id: `resp_${String(count)}`,
      object: 'response',
      created_at: 1,
      status: 'completed',
      model: 'stand-in',
      output: [item],
      usage: {
        input_tokens: 10,
        input_tokens_details: { cached_tokens: 0 },
        output_tokens: 10,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: 20,
      },
    };
    let sequence = 0;
    const event = (type: string, data: object): Answer['events'][number] => ({
      event: type,
      data: { type, sequence_number: sequence++, ...data },
    });
    const text =
      'text' in step
        ? [
            event('response.content_part.added', {
              item_id: item.id,
              output_index: 0,
              content_index: 0,
              part: { type: 'output_text', text: '', annotations: [] },
            }),
            event('response.output_text.delta', {
              item_id: item.id,
              output_index: 0,
              content_index: 0,
              delta: step.text,
            }),
          ]
        : [
            event('response.function_call_arguments.delta', {
              item_id: item.id,
              output_index: 0,
              delta: JSON.stringify(step.input),
            }),
          ];
    return {
      events: [
        event('response.created', { response: { ...whole, status: 'in_progress', output: [] } }),
        event('response.output_item.added', {
          output_index: 0,
          item: 'text' in step ? { ...item, content: [] } : { ...item, arguments: '' },
        }),
        ...text,
        event('response.output_item.done', { output_index: 0, item }),
        event('response.completed', { response: whole }),
      ],
      whole,
    };
  },
};

/** Tools of a namespace (an MCP server's) are called by two names. */
const namespaced = (tool: string): { name: string; namespace?: string } => {
  const [namespace, name] = tool.split('::');
  return name === undefined ? { name: tool } : { name, namespace: namespace ?? '' };
};

/** Gemini's generateContent, whole and streamed. */
export const generateContent: Dialect = {
  path: /:(generateContent|streamGenerateContent)(\?|$)/,
  read: (path, body) => {
    const { contents, tools } = object(body);
    const results = list(contents)
      .flatMap(({ parts }) => list(parts))
      .filter(({ functionResponse }) => functionResponse !== undefined)
      .map(({ functionResponse }) => JSON.stringify(object(functionResponse)['response']));
    return { results, errand: list(tools).length === 0, streamed: path.includes(':streamGenerateContent') };
  },
  answer: (step) => {
    const part =
      'text' in step ? { text: step.text } : { functionCall: { name: step.tool, args: step.input } };
    const whole = {
      candidates: [{ content: { role: 'model', parts: [part] }, finishReason: 'STOP', index: 0 }],
      usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 10, totalTokenCount: 20 },
      modelVersion: 'stand-in',
    };
    return { events: [{ data: whole }], whole };
  },
};

/** The chat completions of OpenAI, which many others speak too. */
export const chatCompletions: Dialect = {
  path: /\/chat\/completions(\?|$)/,
  end: '[DONE]',
  read: (_, body) => {
    const { messages: turns, tools, stream } = object(body);
    const results = list(turns)
      .filter(({ role }) => role === 'tool')
      .map(({ content }) => JSON.stringify(content));
    return { results, errand: list(tools).length === 0, streamed: stream === true };
  },
  answer: (step, count) => {
    const said = 'text' in step;
    const call = said
      ? undefined
      : {
          index: 0,
          id: `call_${String(count)}`,
          type: 'function',
          function: { name: step.tool, arguments: JSON.stringify(step.input) },
        };
    const spoken = said ? { content: step.text } : { content: null, tool_calls: [call] };
    const finish = said ? 'stop' : 'tool_calls';
    const base = { id: 'chatcmpl-1', created: 1, model: 'stand-in' };
    const usage = { prompt_tokens: 10, completion_tokens: 10, total_tokens: 20 };
    const chunk = (delta: object, reason: string | null): Answer['events'][number] => ({
      data: {
        ...base,
        object: 'chat.completion.chunk',
        choices: [{ index: 0, delta, finish_reason: reason }],
      },
    });
    return {
      events: [
        chunk({ role: 'assistant', ...spoken }, null),
        chunk({}, finish),
        { data: { ...base, object: 'chat.completion.chunk', choices: [], usage } },
      ],
      whole: {
        ...base,
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant', ...spoken }, finish_reason: finish }],
        usage,
      },
    };
  },
};

export const dialects: readonly Dialect[] = [messages, responses, generateContent, chatCompletions];
