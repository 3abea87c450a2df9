import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

/** Where the other programs of this build lie: beside this one. */
export interface Programs {
  readonly folder: string;
  readonly signer: string;
  readonly secretBroker: string;
  readonly sidecar: string;
  readonly providerFiles: string;
  readonly providerForwarder: string;
  readonly imageUnpacker: string;
  readonly init: string;
  readonly presets: string;
  readonly version: string;
}

export function programsBeside(moduleUrl: string): Programs {
  const folder = dirname(fileURLToPath(moduleUrl));
  const root = dirname(folder);
  return programsIn(folder, root);
}

export function programsIn(folder: string, root: string): Programs {
  const manifest = join(root, 'package.json');
  const version = existsSync(manifest)
    ? z.object({ version: z.string() }).parse(JSON.parse(readFileSync(manifest, 'utf8'))).version
    : 'unknown';
  return {
    folder,
    signer: join(folder, 'signer.js'),
    secretBroker: join(folder, 'secret-broker.js'),
    sidecar: join(folder, 'sidecar.js'),
    providerFiles: join(folder, 'provider-files.js'),
    providerForwarder: join(folder, 'provider-forwarder.js'),
    imageUnpacker: join(folder, 'image-unpacker.js'),
    init: join(folder, 'init'),
    presets: join(root, 'presets'),
    version,
  };
}
