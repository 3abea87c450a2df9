import {
  chmodSync,
  chownSync,
  mkdtempSync,
  rmSync,
  readFileSync,
  statSync,
  writeFileSync,
  existsSync,
  readdirSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { asRoot, findRunsc, modes, userId, World } from './driver-world.ts';

const runsc = findRunsc();

describe.each(modes)('gVisor driver as %s', (mode) => {
  const world = new World(mode, runsc);
  afterAll(() => world.close());

  test('[R23] a command runs as uid 65534 and writes to a staged workspace; the project stays as it was', async () => {
    const project = world.makeFolder('a, project: with "odd" \\ characters');
    writeFileSync(join(project, 'kept.txt'), 'kept');
    world.own(join(project, 'kept.txt'));
    const request = world.staged(project);
    await world.start(request);
    const outcome = await world.sh(
      request,
      'id -u; cat kept.txt; echo new > new.txt; rm kept.txt; ls',
      '/workspace',
    );
    expect(outcome).toMatchObject({ code: 0, stdout: '65534\nkeptnew.txt\n' });
    expect(readdirSync(project)).toEqual(['kept.txt']);
    const end = await world.kill(request);
    expect(end.reason).toBe('killed');
    const upper = (await world.call({ op: 'openChanges', stateFolder: request.stateFolder })) as string;
    expect(readFileSync(join(upper, 'new.txt'), 'utf8')).toBe('new\n');
    expect(statSync(join(upper, 'new.txt')).uid).toBe(statSync(project).uid);
    expect(existsSync(join(world.settings.folder, 'run', request.sandboxId))).toBe(false);
  });

  test('[R26] one id is one sandbox: a second start is refused, and the first goes on', async () => {
    const request = world.staged(world.makeFolder('project'));
    await world.start(request);
    await expect(world.start(request)).rejects.toThrow(/runs already/);
    expect(await world.sh(request, 'echo alive')).toMatchObject({ stdout: 'alive\n' });
    await world.kill(request);
  });

  test('a start that fails says why and leaves nothing', async () => {
    const request = world.staged(join(world.folder, 'there-is-none'));
    await expect(world.start(request)).rejects.toThrow(/ENOENT|there-is-none|did not start/);
    expect(readdirSync(join(world.settings.folder, 'run'))).toEqual([]);
  });

  test('a preset\u2019s files, a tool folder and the session\u2019s authority are where they are announced', async () => {
    // Not below /tmp: what the sandbox has of its own there would be covered.
    const tools = mkdtempSync(join(asRoot ? '/var' : homedir(), 'gb tools '));
    chmodSync(tools, 0o755);
    writeFileSync(join(tools, 'tool'), 'a tool');
    writeFileSync(join(tools, 'credentials.toml'), 'a token');
    const request = world.staged(world.makeFolder('project'), {
      toolFolders: [tools],
      toolMasks: [join(tools, 'credentials.toml')],
      homeFiles: { '.config/agent.json': '{}' },
      caPem: 'PEM OF THE SESSION\n',
    });
    await world.start(request);
    const script = `cat "${tools}/tool" "${tools}/credentials.toml"; cat /opt/glovebox/home/.config/agent.json; tail -1 /etc/ssl/certs/ca-certificates.crt; touch "${tools}/x"`;
    const outcome = await world.sh(request, script);
    expect(outcome.stdout).toBe('a tool{}PEM OF THE SESSION\n');
    expect(outcome.stderr).toContain('Read-only file system');
    await world.kill(request);
    rmSync(tools, { recursive: true });
  });
});

describe.runIf(asRoot)('as root, over another user\u2019s project', () => {
  const world = new World('root', runsc);
  // As root's home is: nobody else passes, and runsc's processes are somebody else.
  chmodSync(world.folder, 0o700);
  afterAll(() => world.close());

  test.each(['staged', 'direct'] as const)(
    '[R23] what the agent makes in a %s workspace belongs to its owner',
    async (mode) => {
      const project = world.makeFolder(`owned-${mode}`);
      chmodSync(project, 0o700);
      writeFileSync(join(project, 'theirs'), 'theirs', { mode: 0o600 });
      for (const path of [project, join(project, 'theirs')]) chownSync(path, userId, userId);
      const request = world.request({ workspace: { folder: project, mode, show: [], readOnly: [] } });
      await world.start(request);
      const outcome = await world.sh(
        request,
        'cat theirs && echo more >> theirs && mkdir sub && echo new > sub/new',
        '/workspace',
      );
      expect(outcome.detail).toBe(undefined);
      expect(outcome).toMatchObject({ code: 0, stdout: 'theirs' });
      await world.kill(request);
      const folder =
        mode === 'direct'
          ? project
          : ((await world.call({ op: 'openChanges', stateFolder: request.stateFolder })) as string);
      for (const path of ['theirs', 'sub', 'sub/new']) expect(statSync(join(folder, path)).uid).toBe(userId);
      expect(readFileSync(join(folder, 'theirs'), 'utf8')).toBe('theirsmore\n');
    },
  );
});
