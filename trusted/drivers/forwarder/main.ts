import { Socket } from 'node:net';
import process from 'node:process';
import { forwarderStart, type ForwarderReport } from './channel.ts';
import { forward } from './forward.ts';

/** A provider's forwarder: started by the control plane, given one link, trusted with nothing that passes. */
if (process.send === undefined) {
  process.stderr.write('A forwarder is started by the control plane; it has nothing to say to a shell.\n');
  process.exit(64);
}

process.title = 'glovebox-forwarder';
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(0));

/** With the provider ends its forwarder: there is one for each start. */
const report = (message: ForwarderReport): void => {
  const done = message.type === 'ended' ? (): never => process.exit(0) : undefined;
  if (process.connected) process.send?.(message, undefined, undefined, done);
};

process.once('message', (message, handle) => {
  const parsed = forwarderStart.safeParse(message);
  if (!parsed.success || !(handle instanceof Socket)) {
    return report({ type: 'ended', detail: 'the start was not valid' });
  }
  forward(handle, parsed.data, report);
});
