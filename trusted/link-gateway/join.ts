import type { TLSSocket } from 'node:tls';
import { z } from 'zod';
import { limits } from '../../pure/contracts/index.ts';
import { Lines } from '../link/index.ts';
import { certificatesOf, csrPem, type SandboxRelay } from './sandbox-renewal.ts';

const question = z.strictObject({
  type: z.literal('renewal'),
  csr: z.base64().max(4096),
  token: z.string().max(200),
});

/** One line each way on a connection without a certificate: a token and a request, the certificates. The CA decides. */
export function answerJoin(socket: TLSSocket, relay: SandboxRelay, onRefused: (why: string) => void): void {
  const lines = new Lines(limits.linkLine.value);
  const late = setTimeout(() => refuse('it did not come'), limits.gatewayJoin.value);
  late.unref();
  socket.once('close', () => clearTimeout(late));
  const refuse = (why: string): void => {
    onRefused(`a join: ${why}`);
    socket.destroy();
  };
  const take = (chunk: Buffer): void => {
    const complete = lines.push(chunk);
    if (complete === 'too-long') return refuse('a line is too long');
    const [line, ...more] = complete;
    if (line === undefined) return;
    socket.off('data', take);
    const parsed = question.safeParse(parsedOf(line));
    if (more.length > 0 || !parsed.success) return refuse('it is not one');
    relay.join(parsed.data.token, csrPem(parsed.data.csr)).then(
      (chain) => {
        const der = certificatesOf(chain).map((one) => one.raw.toString('base64'));
        socket.end(Buffer.from(`${JSON.stringify({ chain: der })}\n`));
      },
      (error: unknown) => refuse(error instanceof Error ? error.message : 'it failed'),
    );
  };
  socket.on('data', take);
}

function parsedOf(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    // No JSON is no question, as the schema says.
    return undefined;
  }
}
