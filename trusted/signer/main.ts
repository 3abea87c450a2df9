import process from 'node:process';
import { SignerService } from './service.ts';

/**
 * The signer's process (R5). Its one door is the channel that its parent made with it: no socket, no file to write
 * commands to, nothing on stdin. When the parent goes, the channel closes and the keys go with it.
 */
if (process.send === undefined) {
  process.stderr.write('The signer is started by the control plane; it has nothing to say to a shell.\n');
  process.exit(64);
}

process.umask(0o077);
process.title = 'glovebox-signer';
// Ctrl-C in the terminal of the control plane, and a service manager's SIGTERM, go to the whole group; what is then ended in order
// still needs signatures. The signer ends with its channel, and with that its parent.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
process.on('disconnect', () => process.exit(0));

const service = new SignerService(Date.now);
process.on('message', (message) => {
  void service.answer(message).then((response) => {
    if (process.connected) process.send?.(response);
  });
});
