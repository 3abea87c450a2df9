import 'reflect-metadata';
import { spawnSync } from 'node:child_process';
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  asSessionId,
  asTrustDomain,
  encodeId,
  spiffeId,
  GloveboxError,
  type SpiffeId,
} from '../../pure/contracts/index.ts';
import { bundleSigner, startTestSigner, type TestSigner } from './testing.ts';

const trustDomain = asTrustDomain('glovebox.local');
const session = asSessionId(encodeId(new Uint8Array(16)));
const sidecar = spiffeId(trustDomain, { kind: 'sidecar', session });
const bus = spiffeId(trustDomain, { kind: 'bus', server: 'main' });
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

let folder: string;
let entry: string;
let test: TestSigner;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'glovebox-signer-test-'));
  entry = await bundleSigner(folder);
  test = await startTestSigner({ entry });
});
afterAll(async () => {
  await test.close();
  rmSync(folder, { recursive: true, force: true });
});

async function csr(
  options: Partial<x509.Pkcs10CertificateRequestCreateParams> = {},
): Promise<x509.Pkcs10CertificateRequest> {
  const keys = options.keys ?? (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']));
  return x509.Pkcs10CertificateRequestGenerator.create({ signingAlgorithm: algorithm, ...options, keys });
}
const csrPem = async (): Promise<string> => (await csr()).toString('pem');

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => (error instanceof GloveboxError ? error.code : String(error)),
  );
/** What openssl, which had no part in making it, says about a chain. */
function opensslVerify(chainPem: string, bundlePem: string): string {
  const [chain, root] = [join(folder, 'chain.pem'), join(folder, 'root.pem')];
  writeFileSync(chain, chainPem);
  writeFileSync(root, bundlePem);
  const run = spawnSync('openssl', ['verify', '-x509_strict', '-CAfile', root, '-untrusted', chain, chain]);
  return run.stdout.toString() + run.stderr.toString();
}

describe('an issued certificate', () => {
  it('[R1] [R4] is a strict X509-SVID of at most 5 minutes for exactly the key of the request', async () => {
    const request = await csr();
    const svid = await test.signer.issueSvid({
      csrPem: request.toString('pem'),
      spiffeId: sidecar,
      ttlSeconds: 300,
    });
    const leaf = new X509Certificate(svid.chainPem);
    expect(leaf.subjectAltName).toBe(`URI:${sidecar}`);
    expect(leaf.subject).toBe('O=Glovebox');
    expect(leaf.ca).toBe(false);
    expect(leaf.serialNumber.toLowerCase()).toBe(svid.serial);
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(leaf.publicKey.export({ format: 'der', type: 'spki' })).toEqual(
      Buffer.from(request.publicKey.rawData),
    );
    const [from, to] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
    expect(to - from).toBeLessThanOrEqual(300_000);
    expect(from).toBeLessThan(Date.now());
    expect(to).toBe(svid.notAfter.getTime());
    expect(opensslVerify(svid.chainPem, await test.signer.bundle())).toContain(': OK');
  });

  it('[R1] has nothing of the request but the key', async () => {
    const wanted = new x509.SubjectAlternativeNameExtension([
      { type: 'url', value: bus },
      { type: 'dns', value: 'evil' },
    ]);
    const request = await csr({
      name: `CN=${bus}`,
      extensions: [wanted, new x509.BasicConstraintsExtension(true, 3, true)],
    });
    const svid = await test.signer.issueSvid({
      csrPem: request.toString('pem'),
      spiffeId: sidecar,
      ttlSeconds: 60,
    });
    const leaf = new X509Certificate(svid.chainPem);
    expect([leaf.subjectAltName, leaf.subject, leaf.ca]).toEqual([`URI:${sidecar}`, 'O=Glovebox', false]);
  });

  it('has localhost as DNS name for a server, and no other name for anyone', async () => {
    const ask = async (id: SpiffeId, dnsNames: string[]): Promise<string> =>
      new X509Certificate(
        (await test.signer.issueSvid({ csrPem: await csrPem(), spiffeId: id, ttlSeconds: 60, dnsNames }))
          .chainPem,
      ).subjectAltName ?? '';
    expect(await ask(bus, ['localhost'])).toBe(`URI:${bus}, DNS:localhost`);
    expect(await codeOf(ask(bus, ['example.org']))).toBe('GB_INPUT_INVALID');
    expect(await codeOf(ask(sidecar, ['localhost']))).toBe('GB_INPUT_INVALID');
  });

  it('[R1] the CA below which it stands is good for its trust domain only', async () => {
    const pem = readFileSync(join(test.keysFolder, 'issuing.pem'), 'utf8');
    const issuer = new x509.X509Certificate(/-----BEGIN CERT[^]+END CERTIFICATE-----/.exec(pem)![0]);
    const der = createPrivateKey(/-----BEGIN PRIVATE[^]+END PRIVATE KEY-----/.exec(pem)![0]).export({
      format: 'der',
      type: 'pkcs8',
    });
    const signingKey = await webcrypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
    // As a thief of the issuing key would.
    const mint = async (uri: string, ca = false): Promise<string> => {
      const { publicKey } = await csr();
      const leaf = await x509.X509CertificateGenerator.create({
        subject: 'CN=x',
        issuer: issuer.subjectName,
        publicKey,
        signingKey,
        signingAlgorithm: algorithm,
        extensions: [
          new x509.BasicConstraintsExtension(ca, undefined, true),
          new x509.SubjectAlternativeNameExtension([{ type: 'url', value: uri }]),
          await x509.SubjectKeyIdentifierExtension.create(publicKey),
          await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
        ],
        notAfter: new Date(Date.now() + 60_000),
      });
      return `${leaf.toString('pem')}\n${issuer.toString('pem')}`;
    };
    const bundle = await test.signer.bundle();
    expect(opensslVerify(await mint(sidecar), bundle)).toContain(': OK');
    expect(opensslVerify(await mint('spiffe://other.local/signer'), bundle)).toContain(
      'permitted subtree violation',
    );
    expect(issuer.getExtension(x509.BasicConstraintsExtension)?.pathLength).toBe(0);
  });
});

describe('the signer refuses', () => {
  const order = async (change: object): Promise<string> =>
    codeOf(test.signer.issueSvid({ csrPem: await csrPem(), spiffeId: sidecar, ttlSeconds: 300, ...change }));
  it('(but grants the same, unchanged)', async () => {
    expect(await order({})).toBe('done');
  });
  it.each([
    ['[R1] another trust domain', { spiffeId: 'spiffe://other.local/signer' }],
    ['[R1] what is no identity', { spiffeId: 'spiffe://glovebox.local/admin' }],
    ['[R4] more than 5 minutes', { ttlSeconds: 301 }],
    ['[R4] no time at all', { ttlSeconds: 0 }],
    ['[R4] part of a second', { ttlSeconds: 1.5 }],
    ['what is no request', { csrPem: 'x' }],
    ['a request that is too long', { csrPem: 'x'.repeat(9000) }],
    ['an unknown parameter', { ca: true }],
  ])('%s', async (_, change) => {
    expect(await order(change)).toBe('GB_INPUT_INVALID');
  });

  it('[R1] a request whose signature is not of its key', async () => {
    const request = await csr();
    const raw = Buffer.from(request.rawData.slice(0));
    raw[raw.length - 1] = (raw[raw.length - 1] ?? 0) ^ 1;
    const pem = new x509.Pkcs10CertificateRequest(raw).toString('pem');
    expect(await order({ csrPem: pem })).toBe('GB_INPUT_INVALID');
    expect(await order({ csrPem: request.toString('pem') })).toBe('done');
  });

  it('a key of another kind', async () => {
    const rsa = {
      name: 'RSASSA-PKCS1-v1_5',
      hash: 'SHA-256',
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
    };
    const keys = await webcrypto.subtle.generateKey(rsa, true, ['sign', 'verify']);
    expect(await order({ csrPem: (await csr({ keys, signingAlgorithm: rsa })).toString('pem') })).toBe(
      'GB_INPUT_INVALID',
    );
    const p384 = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
    const wide = await webcrypto.subtle.generateKey(p384, true, ['sign', 'verify']);
    expect(await order({ csrPem: (await csr({ keys: wide, signingAlgorithm: p384 })).toString('pem') })).toBe(
      'GB_INPUT_INVALID',
    );
  });
});
