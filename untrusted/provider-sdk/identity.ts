import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { request } from 'node:https';
import * as x509 from '@peculiar/x509';
import { z } from 'zod';

/** A provider's certificate and key. The key is made here and goes nowhere else. */
export interface Svid {
  readonly keyPem: string;
  readonly chainPem: string;
  readonly bundlePem: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly trustDomain: string;
}

x509.cryptoProvider.set(webcrypto);

const issued = z.object({ chainPem: z.string(), bundlePem: z.string(), notAfter: z.string() });
const maxAnswer = 65_536;

/** Exchanges a join token for the first certificate; the server is checked against `bundlePem`. */
export const join = (endpoint: Endpoint, bundlePem: string, token: string): Promise<Svid> =>
  withNewKey((csr) => post(endpoint, { ca: bundlePem }, '/v1/identity/join', { token, csr }));

/** Renews with a key of its own, over mutual TLS as the identity that is there. A serial renews once. */
export const renew = (endpoint: Endpoint, current: Svid): Promise<Svid> =>
  withNewKey((csr) =>
    post(
      endpoint,
      { ca: current.bundlePem, cert: current.chainPem, key: current.keyPem },
      '/v1/identity/renew',
      { csr },
    ),
  );

async function withNewKey(exchange: (csr: string) => Promise<unknown>): Promise<Svid> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: '',
    keys,
    signingAlgorithm: algorithm,
  });
  const { chainPem, bundlePem } = issued.parse(await exchange(csr.toString('pem')));
  const leaf = new x509.X509Certificate(chainPem);
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    keyPem: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'),
    chainPem,
    bundlePem,
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
  };
}

/** The server is who its URI SAN says; names and addresses mean nothing here. */
export function checkSpiffePeer(
  expected: string,
): (host: string, certificate: { subjectaltname?: string }) => Error | undefined {
  return (_, certificate) => {
    const uris = (certificate.subjectaltname ?? '').split(', ').filter((name) => name.startsWith('URI:'));
    const [uri] = uris;
    return uris.length === 1 && uri !== undefined && uri.startsWith(`URI:${expected}`)
      ? undefined
      : new Error('the server is not who it should be');
  };
}

function post(
  endpoint: Endpoint,
  tls: { ca: string; cert?: string; key?: string },
  path: string,
  body: unknown,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const outgoing = request(
      {
        host: endpoint.host,
        port: endpoint.port,
        path,
        method: 'POST',
        agent: false,
        minVersion: 'TLSv1.3',
        checkServerIdentity: checkSpiffePeer(`spiffe://${endpoint.trustDomain}/control-plane/`),
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
        ...tls,
      },
      (response) => {
        let answer = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          answer += chunk;
          if (answer.length > maxAnswer) response.destroy(new Error('the answer is too long'));
        });
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode !== 200)
            reject(new Error(`${path}: ${String(response.statusCode)} ${answer.slice(0, 500)}`));
          else resolve(JSON.parse(answer));
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(text);
  });
}
