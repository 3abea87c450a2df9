import { GloveboxError } from '../../../pure/contracts/index.ts';
import { connect } from '../connect.ts';
import { isUp, startDaemon } from '../daemon.ts';
import { print, printJson } from '../output.ts';
import { endDaemon } from '../stop-daemon.ts';

export async function up(options: Record<string, unknown>): Promise<number> {
  const { places, client } = connect();
  const already = await isUp(places);
  const json = options['json'] === true;
  const [url, passwordFile] = [options['store'], options['storePasswordFile']];
  if (typeof url === 'string') {
    const { chooseStore } = await import('../choose-store.ts');
    chooseStore(places, url, typeof passwordFile === 'string' ? passwordFile : undefined, already);
  } else if (passwordFile !== undefined) {
    throw new GloveboxError('GB_USAGE', {
      detail: '--store-password-file',
      hint: 'It goes with --store, once.',
    });
  }
  if (!already) await startDaemon(places, process.env);
  const health = await client.call('health', {});
  if (json) printJson({ ...health, started: !already, socket: places.socket });
  else
    print(
      `Glovebox ${already ? 'was already running' : 'is running'} (control plane ${health.pid}, ${places.socket}).`,
    );
  return 0;
}

export async function down(json: boolean): Promise<number> {
  const { places, client } = connect();
  const running = await isUp(places);
  if (running) {
    await endDaemon(client);
  }
  if (json) printJson({ stopped: running });
  else print(running ? 'Glovebox has stopped; staged changes are kept.' : 'Glovebox was not running.');
  return 0;
}
