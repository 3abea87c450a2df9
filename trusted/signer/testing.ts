import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { SignerClient, type SignerOptions } from './client.ts';

/** For tests of any room: the real signer, bundled as the product bundles it, over a keys folder that is removed. */
export interface TestSigner {
  readonly signer: SignerClient;
  readonly keysFolder: string;
  readonly entry: string;
  close(): Promise<void>;
}

export async function bundleSigner(folder: string): Promise<string> {
  const outfile = join(folder, 'signer.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('./main.ts', import.meta.url))],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    outfile,
    // As in the product: a package of CommonJS asks for Node's modules.
    banner: {
      js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`,
    },
    logLevel: 'error',
  });
  return outfile;
}

export async function startTestSigner(options: Partial<SignerOptions> = {}): Promise<TestSigner> {
  const folder = mkdtempSync(join(tmpdir(), 'glovebox-signer-'));
  const entry = options.entry ?? (await bundleSigner(folder));
  const keysFolder = options.keysFolder ?? join(folder, 'keys');
  const signer = await SignerClient.start({ trustDomain: 'glovebox.local', ...options, entry, keysFolder });
  const close = async (): Promise<void> => {
    await signer.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { signer, keysFolder, entry, close };
}
