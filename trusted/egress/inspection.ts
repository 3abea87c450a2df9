import { PassThrough, Readable } from 'node:stream';
import { limits } from '../../pure/contracts/index.ts';
import {
  bodyProblem,
  judgePush,
  readCommandList,
  type CompiledRule,
  type Inspection,
} from '../../pure/egress/index.ts';

export type Inspected =
  | { readonly ok: false; readonly why: string }
  /** The body, from its first byte. */
  | { readonly ok: true; readonly body: Readable };

/** Reads as much of a body as its rule decides on, and no further: nothing has gone out yet. */
export async function inspect(
  rule: CompiledRule,
  inspection: Inspection,
  body: Readable,
): Promise<Inspected> {
  if (inspection === 'json') return inspectJson(rule, body);
  if (inspection === 'git-push') return inspectPush(rule, body);
  return { ok: true, body };
}

async function inspectJson(rule: CompiledRule, body: Readable): Promise<Inspected> {
  const most = limits.egressInspectedBody.value;
  const bytes = await take(body, (read) => read.length > most);
  if (bytes.length > most)
    return { ok: false, why: `a body that the rule looks into has at most ${String(most)} bytes` };
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return { ok: false, why: 'the body is not UTF-8' };
  }
  const problem = bodyProblem(rule, text);
  return problem === null
    ? { ok: true, body: Readable.from([bytes], { objectMode: false }) }
    : { ok: false, why: problem };
}

async function inspectPush(rule: CompiledRule, body: Readable): Promise<Inspected> {
  const { git } = rule;
  if (git === undefined) return { ok: false, why: 'the rule is not one for git' };
  const most = limits.egressCommandList.value;
  const bytes = await take(body, (read) => readCommandList(read, most).state !== 'more');
  const list = readCommandList(bytes, most);
  if (list.state === 'more') return { ok: false, why: 'the push ends within its command list' };
  if (list.state === 'bad') return { ok: false, why: list.why };
  const verdict = judgePush(git, list.updates);
  if (!verdict.ok) return verdict;
  const [unproven] = verdict.forward;
  if (unproven !== undefined)
    return {
      ok: false,
      why: `an update of ${unproven.ref} may overwrite what is there; the rule has no force`,
    };
  return { ok: true, body: withBeginning(bytes, body) };
}

/** Not put back into the stream: a short body may have told its end by now, and would take nothing back. */
function withBeginning(bytes: Buffer, rest: Readable): Readable {
  const whole = new PassThrough();
  whole.write(bytes);
  rest.once('error', (error) => whole.destroy(error));
  rest.once('close', () => {
    // Never an end: what was cut must not look whole to the upstream.
    if (!rest.readableEnded) whole.destroy(new Error('the client left before its body was whole'));
  });
  if (rest.readableEnded) whole.end();
  else if (rest.destroyed) whole.destroy(new Error('the client left before its body was whole'));
  else rest.pipe(whole);
  return whole;
}

/** The body's bytes until `enough`, or all of them. The rest stays in the stream, which is left paused. */
async function take(body: Readable, enough: (read: Buffer) => boolean): Promise<Buffer> {
  let read = Buffer.alloc(0);
  for (;;) {
    const chunk = body.read() as Buffer | null;
    if (chunk !== null) {
      read = Buffer.concat([read, chunk]);
      if (enough(read)) return read;
      continue;
    }
    if (body.readableEnded || body.destroyed) return read;
    await new Promise<void>((resolve) => {
      const next = (): void => {
        body.off('readable', next);
        body.off('end', next);
        body.off('close', next);
        resolve();
      };
      body.once('readable', next);
      body.once('end', next);
      body.once('close', next);
    });
  }
}
