// Runs in a sandbox of its own: answers requests of the bus with a file's text, as a provider would, and nothing else.
import { connect } from '@nats-io/transport-node';

const connection = await connect({ servers: '127.0.0.1:4222' });
connection.subscribe('bench.read', {
  callback: (_error, message) =>
    void message.respond(JSON.stringify({ ok: true, result: { text: 'hello' } })),
});
await connection.flush();
process.stdout.write('ready\n');
