// Runs in a sandbox of its own: answers requests of the bus with a text, or with a file's, as a provider would, and nothing else.
import { readFileSync } from 'node:fs';
import { connect } from '@nats-io/transport-node';

const connection = await connect({ servers: '127.0.0.1:4222' });
connection.subscribe('bench.read', {
  callback: (_error, message) =>
    void message.respond(JSON.stringify({ ok: true, result: { text: 'hello' } })),
});
connection.subscribe('bench.file', {
  callback: (_error, message) =>
    void message.respond(
      JSON.stringify({
        ok: true,
        result: { path: message.json().path, content: readFileSync('/workspace/hello.txt', 'utf8') },
      }),
    ),
});
await connection.flush();
process.stdout.write('ready\n');
