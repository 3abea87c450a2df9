import { existsSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { build, programs } from '../../tools/build.mjs';
import { dist, root } from '../../tools/setup/paths.mjs';

interface Made {
  readonly inputs: readonly string[];
  readonly external: readonly string[];
}

let made: Readonly<Record<string, Made>> = {};
beforeAll(async () => {
  await build();
  made = JSON.parse(readFileSync(join(dist, 'inputs.json'), 'utf8')) as Record<string, Made>;
});

/** The rooms of the house that a program is made of. */
function roomsOf(program: string): string[] {
  const paths = made[program]?.inputs ?? [];
  const rooms = paths.flatMap((path) => /^(?:trusted|untrusted|operator)\/[^/]+/.exec(path)?.[0] ?? []);
  return [...new Set(rooms)].sort();
}

describe('what each program is made of', () => {
  it('every program has an entry and a bundle', () => {
    for (const [name, entry] of Object.entries(programs)) {
      expect(existsSync(join(root, entry)), entry).toBe(true);
      expect(existsSync(join(dist, `${name}.js`)), name).toBe(true);
    }
  });

  it('[R43] the sidecar carries no store, signer, driver or control plane', () => {
    expect(roomsOf('sidecar')).toContain('trusted/sidecar');
    for (const room of ['store', 'signer', 'drivers', 'control-plane'])
      expect(roomsOf('sidecar')).not.toContain(`trusted/${room}`);
  });

  it('[R43] the sidecar has no module of Node that starts programs or evaluates text; the control plane has', () => {
    const starting = /^(?:node:)?(?:child_process|cluster|inspector|repl|vm|wasi)(?:[/]|$)/;
    expect(made['sidecar']?.inputs).toContain('trusted/sidecar/main.ts');
    expect(made['sidecar']?.external.filter((name) => starting.test(name))).toEqual([]);
    expect(made['control-plane']?.external).toContain('node:child_process');
  });

  it('[R5] the control plane carries none of the code that holds keys or opens secrets', () => {
    const inputs = made['control-plane']?.inputs ?? [];
    expect(inputs).toContain('trusted/control-plane/main.ts');
    for (const file of ['bus-authority', 'ca-keys', 'main', 'service', 'tokens'])
      expect(inputs).not.toContain(`trusted/signer/${file}.ts`);
    for (const file of ['broker', 'embedded-backend', 'main', 'sealing-key', 'serve'])
      expect(inputs).not.toContain(`trusted/secrets/${file}.ts`);
    expect(roomsOf('control-plane')).not.toContain('trusted/bus-authorizer');
  });

  it.each(['cli', 'agent-sdk', 'provider-files'])('%s carries nothing of the trusted side', (program) => {
    expect(roomsOf(program).filter((room) => room.startsWith('trusted/'))).toEqual([]);
  });

  it('[R16] the forwarder is made of itself and the link alone, and starts no program', () => {
    const trusted = (made['provider-forwarder']?.inputs ?? []).filter((path) =>
      /^(?:un)?trusted|^operator/.test(path),
    );
    expect(trusted).toContain('trusted/drivers/forwarder/main.ts');
    expect(trusted.filter((path) => !/^trusted\/(?:drivers\/forwarder|link)\//.test(path))).toEqual([]);
    expect(made['provider-forwarder']?.external).not.toContain('node:child_process');
  });

  it('no bundle asks for a package that is not installed with Glovebox', () => {
    const text = readFileSync(join(root, 'package.json'), 'utf8');
    const { dependencies } = JSON.parse(text) as { dependencies: Record<string, string> };
    for (const { external } of Object.values(made)) {
      const packages = external.filter((name) => !name.startsWith('node:') && /^[@a-z]/.test(name));
      for (const name of packages) {
        const owner = name
          .split('/')
          .slice(0, name.startsWith('@') ? 2 : 1)
          .join('/');
        expect([...Object.keys(dependencies), ...builtinModules]).toContain(owner);
      }
    }
  });
});
