import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { opaProgram } from '../../tools/setup/tools.mjs';

const bundle = join(import.meta.dirname, '../../deploy/opa/bundle');

/** A real server, started as deploy/opa/README.md says. */
export class OpaServer {
  readonly folder = mkdtempSync(join(tmpdir(), 'gb-opa-'));
  readonly socket = join(this.folder, 'opa.sock');
  readonly token = randomBytes(32).toString('hex');
  #child: ChildProcess | undefined;

  /** `organisation`: Rego of package organisation, in a bundle of its own. */
  async start(organisation?: string): Promise<void> {
    const own = join(this.folder, 'organisation');
    rmSync(own, { recursive: true, force: true });
    if (organisation !== undefined) {
      mkdirSync(own);
      writeFileSync(join(own, '.manifest'), '{"roots": ["organisation"]}');
      writeFileSync(join(own, 'organisation.rego'), organisation);
    }
    rmSync(this.socket, { force: true });
    const child = spawn(
      await opaProgram(),
      [
        ...['run', '--server', '--addr', `unix://${this.socket}`, '--unix-socket-perm', '666'],
        ...['--authentication=token', '--authorization=basic', '--skip-version-check', '--log-level=error'],
        ...['--bundle', bundle, ...(organisation === undefined ? [] : ['--bundle', own])],
      ],
      {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { GLOVEBOX_OPA_TOKEN_SHA256: createHash('sha256').update(this.token).digest('hex') },
      },
    );
    this.#child = child;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`opa ended with ${String(child.exitCode)}`);
      const status = await this.ask('GET', '/health?bundles').catch(() => 0);
      if (status === 200) return;
      await wait(20);
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The status of a request that nobody of ours makes. */
  ask(method: string, path: string, body = '', token: string | null = this.token): Promise<number> {
    return new Promise((resolve, reject) => {
      const headers = token === null ? {} : { authorization: `Bearer ${token}` };
      const asked = request({ socketPath: this.socket, method, path, headers }, (response) => {
        response.resume().on('end', () => resolve(response.statusCode ?? 0));
      });
      asked.on('error', reject);
      asked.end(body);
    });
  }
}
