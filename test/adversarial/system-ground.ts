import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { World } from '../e2e/world.ts';
import { Resolver, WatchedWorld } from './hostile-names.ts';
import { Upstream } from '../e2e/upstream.ts';
import { HostileSession } from './system-world.ts';

export const canary = `sk-canary-${'q7Rz'.repeat(10)}`;
const names = {
  'api.example': '127.0.0.1',
  'other.example': '127.0.0.1',
  'metadata.example': '169.254.169.254',
  'loopback.example': '127.0.0.1',
};

/** One person's machine with two sessions alive at once, an outside host, a resolver that watches, and shared folders with links. */
export interface Ground {
  readonly world: World;
  readonly resolver: Resolver;
  readonly upstream: Upstream;
  readonly first: HostileSession;
  readonly second: HostileSession;
  /** The host's side of `/shared`. */
  readonly shared: string;
  close(): Promise<void>;
}

export const withPolicy = (world: World): string[] => ['--policy', join(world.folder, 'policy.yaml'), '-i'];

export async function openGround(): Promise<Ground> {
  const resolver = await Resolver.start(names);
  const world = new WatchedWorld(resolver);
  const upstream = await Upstream.start(['api.example', 'other.example']);
  writeFileSync(join(world.folder, 'ca.pem'), upstream.caPem);
  const outside = (host: string, more = ''): string => `
  - host: ${host}
    port: ${String(upstream.port)}
    methods: [GET, POST]
    paths: [/open/**]
    caFile: ${join(world.folder, 'ca.pem')}
${more}`;
  writeFileSync(
    join(world.folder, 'policy.yaml'),
    `version: 1
tools:
  allow: ['files:read:/shared/open/**']
  ask: ['files:write:/shared/notes/**']
egress:${outside('api.example', `    privateRanges: [127.0.0.0/8]\n    credential: { secret: key, carrier: 'header:x-api-key' }\n`)}${outside('other.example', '    privateRanges: [127.0.0.0/8]\n')}${outside('metadata.example')}${outside('loopback.example')}
env:
  API_KEY: { placeholder: key }
`,
  );
  copyFileSync(join(import.meta.dirname, 'system-inside.py'), join(world.project, 'system-inside.py'));
  const shared = join(world.home, '.local/share/glovebox/shared');
  for (const folder of ['open', 'closed', 'notes']) mkdirSync(join(shared, folder), { recursive: true });
  writeFileSync(join(shared, 'open/read-me.txt'), 'open to all');
  writeFileSync(join(shared, 'closed/secret.txt'), 'closed to all');
  symlinkSync('/etc/passwd', join(shared, 'open/out'));
  symlinkSync('../closed/secret.txt', join(shared, 'open/aside'));
  symlinkSync('../closed', join(shared, 'open/folder'));
  symlinkSync('../closed', join(shared, 'notes/folder'));
  symlinkSync('../closed/secret.txt', join(shared, 'notes/link.txt'));
  await world.waive();
  const { code, err } = await world.glovebox(['secret', 'set', 'key'], { input: canary });
  if (code !== 0) throw new Error(err);
  const first = new HostileSession(world, 'first', withPolicy(world));
  const second = new HostileSession(world, 'second', withPolicy(world));
  await Promise.all([first, second].map((session) => session.api()));
  const close = async (): Promise<void> => {
    for (const session of [first, second]) session.child.stdin?.end();
    await world.close();
    upstream.close();
    resolver.close();
  };
  return { world, resolver, upstream, first, second, shared, close };
}

export async function stillServes(session: HostileSession): Promise<void> {
  const { status } = await session.api();
  if (status !== 200) throw new Error(`${session.name} does not answer its agent (${String(status)})`);
}
