import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { profileName } from '../../../pure/host/index.ts';
import { confined, overlayOptions, sandboxNamespaces } from './launch.ts';

test('[R23] where the profile is in force runsc is started under it, and where it is not, as it is', () => {
  expect(confined({ apparmor: true })).toEqual(['aa-exec', '-p', 'glovebox-sandbox', '--']);
  expect(confined({ apparmor: false })).toEqual([]);
  expect(confined({})).toEqual([]);
});

test('[R23] the profile that the driver names is the one that is shipped, and it is not one that only complains', () => {
  const shipped = readFileSync(new URL('../../../deploy/apparmor/glovebox-sandbox', import.meta.url), 'utf8');
  const flags = new RegExp(`^profile ${profileName} flags=\\(([^)]*)\\)`, 'm').exec(shipped)?.[1]?.split(',');
  expect(flags).toBeDefined();
  expect(flags).not.toContain('complain');
  expect(flags).not.toContain('unconfined');
});

test('[R23] an ordinary user is uid 65534 of a namespace of its own; only its layer uses the user\u2019s attributes', () => {
  expect(sandboxNamespaces(false)).toEqual(expect.arrayContaining(['-U', '--map-user=65534', '-m']));
  expect(sandboxNamespaces(true)).toEqual(['-m']);
  expect(overlayOptions(false, false)).toContain('userxattr');
  expect(overlayOptions(false, true)).not.toContain('userxattr');
});
