import process from 'node:process';
import { ConnectionRegistry, systemClock } from '../identity/index.ts';
import { brokerBootstrap, brokerRevocation, type BrokerReport } from './bootstrap.ts';
import { serveBroker } from './serve.ts';

/** The secret broker's process: started by the control plane, ends with it. */
if (process.send === undefined) {
  process.stderr.write(
    'The secret broker is started by the control plane; it has nothing to say to a shell.\n',
  );
  process.exit(64);
}

process.umask(0o077);
process.title = 'glovebox-secret-broker';
// Ctrl-C in a terminal and a service's stop go to the whole group; the parent decides when this ends.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(0));

const report = (message: BrokerReport): void => {
  if (process.connected) process.send?.(message);
};
/** Without its identity or the bus it can check nothing: the supervisor starts a new one. */
const give = (detail: string): void => {
  report({ type: 'failed', detail });
  process.stderr.write(`${detail}\n`);
  process.exitCode = 1;
  process.disconnect();
  process.exit(1);
};

process.once('message', (message) => {
  const parsed = brokerBootstrap.safeParse(message);
  if (!parsed.success) return give('the bootstrap is not valid');
  const connections = new ConnectionRegistry(systemClock, parsed.data.revoked);
  process.on('message', (word) => {
    const revocation = brokerRevocation.safeParse(word);
    if (!revocation.success) return give('a word that is none');
    connections.revoke(revocation.data.serials);
  });
  serveBroker(parsed.data, connections, report, give).then(
    ({ host, port }) => report({ type: 'ready', host, port }),
    (error: unknown) => give(error instanceof Error ? error.message : 'it could not start'),
  );
});
