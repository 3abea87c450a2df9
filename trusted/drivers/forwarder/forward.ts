import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { limits } from '../../../pure/contracts/index.ts';
import { LinkServer } from '../../link/index.ts';
import type { ForwarderReport, ForwarderStart } from './channel.ts';

const lineLength = 2000;

/**
 * Carries a provider's connections to the two places that it may speak to. TLS is end to end, so what passes here cannot be
 * read or changed; all that the forwarder decides is that a tunnel leads where it was told, and nowhere else (R16).
 */
export function forward(
  link: Socket,
  start: ForwarderStart,
  report: (report: ForwarderReport) => void,
): void {
  const output: Promise<void>[] = [];
  const say = fewLines(report);
  const server = new LinkServer(link, {
    event: (event) => {
      switch (event.type) {
        case 'started':
          report({ type: 'started' });
          return;
        case 'exited': {
          const how = String(event.signal ?? event.code ?? 'unknown');
          // Its last words, which say why, may still be on their way.
          void Promise.all(output).then(() =>
            report({ type: 'ended', detail: `its program ended (${how})` }),
          );
          return;
        }
        case 'failed':
          report({ type: 'ended', detail: `its program could not be started (${event.code})` });
          return;
        case 'hello':
        case 'configured':
          return;
      }
    },
    tunnel: (name, connection) => {
      const target = Object.hasOwn(start.targets, name) ? start.targets[name] : undefined;
      if (target === undefined) return false;
      join(connection, connect({ ...target, allowHalfOpen: true, noDelay: true }));
      return true;
    },
    stdio: (_id, name, stream) => {
      if (name === 'stdin') stream.end();
      else if (name === 'terminal') return false;
      else output.push(relayLines(stream, say));
      return true;
    },
    ended: ({ reason, detail }) => report({ type: 'ended', detail: `its link ended: ${reason}, ${detail}` }),
  });
  server.send({ type: 'configure', listen: start.listen });
  server.send({ type: 'start', id: 'main', terminal: null, ...start.command });
}

/** Both ways, half-close and all; what ends otherwise ends the other side too. */
function join(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.on('error', () => to.destroy());
    // Whole only if both directions came to their end: then the other side ends by itself, after its last bytes.
    from.once('close', () => {
      if (!from.readableEnded || !from.writableFinished) to.destroy();
    });
    from.pipe(to);
  }
}

async function relayLines(stream: Duplex, say: (text: string) => void): Promise<void> {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('error', () => stream.destroy());
  stream.on('data', (text: string) => {
    const lines = `${rest}${text}`.split('\n');
    // An endless line is cut, not kept.
    rest = (lines.pop() ?? '').slice(-lineLength);
    for (const line of lines) say(line);
  });
  // Its answer has to end too, or the stream never closes and the end of the program is never reported.
  stream.once('end', () => stream.end());
  await new Promise((resolve) => stream.once('close', resolve));
  say(rest);
}

/** A provider that talks without end must fill neither the control plane's log nor its memory. */
function fewLines(report: (report: ForwarderReport) => void): (text: string) => void {
  let window = 0;
  let said = 0;
  return (text) => {
    const now = Math.floor(Date.now() / 60_000);
    if (now !== window) [window, said] = [now, 0];
    said += 1;
    if (text === '' || said > limits.providerLines.value + 1) return;
    const cut = said > limits.providerLines.value;
    report({
      type: 'line',
      text: cut ? 'it says more than is kept; the rest of this minute is dropped' : text.slice(0, lineLength),
    });
  };
}
