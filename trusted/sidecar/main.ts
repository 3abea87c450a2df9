import type { Socket } from 'node:net';
import process from 'node:process';
import { Sidecar } from './sidecar.ts';
import { systemRuntime } from './runtime.ts';

/** A sidecar's process: started ahead by the control plane, spoken to over the channel that it inherited, ends with it. */
if (process.send === undefined) {
  process.stderr.write('A sidecar is started by the control plane; it has nothing to say to a shell.\n');
  process.exit(64);
}

process.umask(0o077);
process.title = 'glovebox-sidecar';
// Ctrl-C in the control plane's terminal goes to the whole group; the parent decides when this ends.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit(0));

const sidecar = new Sidecar({
  runtime: systemRuntime,
  report: (report) => {
    if (process.connected) process.send?.(report);
  },
  exit: (code) => process.exit(code),
});
process.on('uncaughtException', (error) => sidecar.failed(error));
process.on('unhandledRejection', (error) => sidecar.failed(error));
process.on('message', (message, handle) => sidecar.command(message, handle as Socket | undefined));
