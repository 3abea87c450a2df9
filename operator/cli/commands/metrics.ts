import { connect } from '../connect.ts';
import { printJson } from '../output.ts';

export async function metrics(json: boolean): Promise<number> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await connect().client.metrics()) as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  if (json) printJson({ text });
  else process.stdout.write(text);
  return 0;
}
