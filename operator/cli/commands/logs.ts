import { TerminalFilter } from '../../../pure/render/index.ts';
import { connect } from '../connect.ts';

/** A session's output as it was. A person's terminal never gets it unfiltered (R47); a pipe does when it asks for it. */
export async function logs(
  id: string,
  { raw, follow, json }: { readonly raw: boolean; readonly follow: boolean; readonly json: boolean },
): Promise<number> {
  const { stdout } = process;
  const filter = raw && !stdout.isTTY ? undefined : new TerminalFilter();
  const write = async (bytes: Uint8Array | string): Promise<void> => {
    if (bytes.length > 0 && !stdout.destroyed) await new Promise((resolve) => stdout.write(bytes, resolve));
  };
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await connect().client.logs(id, follow)) as AsyncIterable<Buffer>) {
    const bytes = filter === undefined ? chunk : filter.push(chunk);
    if (json) chunks.push(bytes);
    else await write(bytes);
  }
  const { terminalReset } = await import('../../../pure/render/index.ts');
  if (json)
    await write(`${JSON.stringify({ session: id, output: Buffer.concat(chunks).toString('utf8') })}\n`);
  else if (stdout.isTTY && filter?.touched === true) await write(terminalReset(filter.alternate));
  return 0;
}
