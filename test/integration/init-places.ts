import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { commandFor, InitPeer, type Place } from './init-link-peer.ts';

const runsc =
  process.env['GLOVEBOX_TEST_RUNSC'] ??
  (JSON.parse(readFileSync(new URL('../../dist/tools.json', import.meta.url), 'utf8')) as { runsc: string })
    .runsc;
const root = resolve(import.meta.dirname, '../..');

/** What a test of init has to hand, in one place. */
export interface InitTest {
  readonly place: Place;
  /** The built program, as the host sees it. */
  readonly init: string;
  /** A folder of the host that init's user may write. */
  readonly folder: string;
  /** Starts init and says nothing to it. */
  connect(): InitPeer;
  /** Starts init and its link. */
  linked(): Promise<InitPeer>;
}

/** Runs the same tests against init as a process of this machine and as PID 1 of a real sandbox. */
export function inEachPlace(name: string, tests: (context: InitTest) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'gb-init-build-'));
  const init = join(folder, 'init');
  beforeAll(() => {
    execFileSync('go', ['build', '-C', join(root, 'untrusted/init'), '-trimpath', '-o', init, '.'], {
      env: { ...process.env, CGO_ENABLED: '0' },
    });
    chmodSync(folder, 0o777); // init runs as another user
  }, 120_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  describe.each(places())(`${name}, on %s`, { timeout: 60_000 }, (place) => {
    const peers: InitPeer[] = [];
    const connect = (): InitPeer => {
      const peer = new InitPeer(commandFor(place, init, runsc));
      peers.push(peer);
      return peer;
    };
    const linked = async (): Promise<InitPeer> => {
      const peer = connect();
      await peer.go();
      return peer;
    };
    afterEach(async () => {
      await Promise.all(peers.splice(0).map((peer) => peer.close()));
    });
    tests({ place, init, folder, connect, linked });
  });
}

function places(): Place[] {
  const lacking = !existsSync(runsc)
    ? `${runsc} is not built`
    : process.getuid?.() !== 0
      ? 'its bundle needs root'
      : undefined;
  if (lacking === undefined) return ['host', 'gvisor'];
  process.stderr.write(`init is not tested in gVisor: ${lacking}\n`);
  return ['host'];
}
