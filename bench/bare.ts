import { spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Machine } from './machine.ts';

const spec = z.looseObject({
  process: z.looseObject({ args: z.array(z.string()), env: z.array(z.string()), cwd: z.string() }),
  root: z.looseObject({ path: z.string() }),
});

/**
 * What `runsc run` costs by itself: the specification, the files and the flags of a sandbox that Glovebox started, without init,
 * link, overlay, cgroups and the chain of execs before runsc.
 */
export class Bare {
  readonly #runsc: string;
  readonly #flags: readonly string[];
  readonly #folder: string;
  readonly #spec: z.infer<typeof spec>;
  #count = 0;

  private constructor(runsc: string, flags: readonly string[], folder: string, text: string) {
    this.#runsc = runsc;
    this.#flags = flags;
    this.#folder = folder;
    this.#spec = spec.parse(JSON.parse(text));
  }

  /** Copied from a session that runs for a moment. */
  static async like(machine: Machine): Promise<Bare> {
    await machine.warm();
    const session = await machine.client.call('createSession', {
      body: machine.request(['sleep', '600'], { detach: true }),
    });
    await machine.until(session.id, ({ state }) => state === 'running');
    const runs = join(machine.state, 'sandboxes/run');
    const run = readdirSync(runs)
      .map((id) => join(runs, id))
      // A provider's sandbox may be on its way in or out meanwhile.
      .find((path) => specText(path).includes('"/workspace"'));
    if (run === undefined) throw new Error('the session has no run folder');
    const [runsc, flags] = commandOf(run);
    // As root runsc's helpers are a user that nobody is: every folder above is open to be passed through.
    const folder = join(machine.folder, 'bare');
    mkdirSync(folder, { mode: 0o755 });
    for (const name of ['root', 'disk', 'ca.crt', 'empty-file', 'empty-folder', 'home'])
      cpSync(join(run, name), join(folder, name), { recursive: true, verbatimSymlinks: true });
    const text = readFileSync(join(run, 'config.json'), 'utf8')
      .replaceAll(`${run}/merged`, machine.project)
      .replaceAll(run, folder);
    await machine.client.call('stopSession', { params: { id: session.id } });
    await machine.until(session.id, ({ state }) => state === 'ended');
    const bare = new Bare(runsc, flags, folder, text);
    for (let round = 0; round < 2; round += 1)
      await new Promise((resolve) =>
        bare.run(['true'], ['ignore', 'ignore', 'inherit']).once('close', resolve),
      );
    return bare;
  }

  /** `fds`: passed on, by their number in `stdio`. */
  run(command: readonly string[], stdio: StdioOptions, fds: readonly number[] = []): ChildProcess {
    const id = `bare-${process.pid}-${(this.#count += 1)}`;
    const bundle = join(this.#folder, id);
    mkdirSync(bundle, { mode: 0o755 });
    const { process: own, root } = this.#spec;
    writeFileSync(
      join(bundle, 'config.json'),
      JSON.stringify({
        ...this.#spec,
        root: { ...root, path: join(this.#folder, 'root') },
        process: { ...own, args: command, cwd: fds.length > 0 ? own.cwd : '/workspace' },
      }),
    );
    return spawn(
      this.#runsc,
      [
        `--root=${join(this.#folder, 'runsc')}`,
        ...this.#flags,
        ...['run', `--bundle=${bundle}`, ...fds.map((fd) => `--pass-fd=${fd}:${fd}`), id],
      ],
      { cwd: '/', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, stdio },
    );
  }
}

const specText = (run: string): string =>
  existsSync(join(run, 'config.json')) ? readFileSync(join(run, 'config.json'), 'utf8') : '';

/** The runsc of this run folder's sandbox and its flags, as the kernel tells them. */
function commandOf(run: string): [string, string[]] {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let args: string[];
    try {
      args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    } catch {
      // It ended between the listing and the reading.
      continue;
    }
    const verb = args.indexOf('run');
    if (verb < 0 || !args.includes(`--bundle=${run}`)) continue;
    const first = args.findIndex((arg) => arg.startsWith('--root='));
    const flags = args.slice(first, verb).filter((arg) => !/^--(root|log)=/.test(arg));
    return [args[first - 1] ?? '', flags];
  }
  throw new Error(`no runsc runs with ${run}`);
}
