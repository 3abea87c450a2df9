import { connect } from '../connect.ts';
import { print, printJson } from '../output.ts';
import { productVersion } from '../places.ts';

export async function version(options: Record<string, unknown>): Promise<number> {
  const own = productVersion();
  const daemon = await connect()
    .client.call('health', {})
    // Not running: there is no second version to tell.
    .catch(() => null);
  if (options['json'] === true) printJson({ version: own, controlPlane: daemon?.version ?? null });
  else {
    print(`glovebox ${own}`);
    if (daemon !== null && daemon.version !== own)
      print(`the control plane that runs is ${daemon.version}: \`glovebox down\` ends it`);
  }
  return 0;
}
