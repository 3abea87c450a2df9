import 'reflect-metadata';
import { randomBytes, webcrypto } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
  type JsonGeneralNames,
  type X509Certificate,
} from '@peculiar/x509';
import {
  defaultTrustDomain,
  encodeId,
  identityOf,
  spiffeId,
  type Identity,
  type SessionId,
  type TrustDomain,
  type Workload,
} from '../../pure/contracts/index.ts';
import {
  authorizerPublicKeys,
  createAuthorizer,
  createAuthorizerKeys,
  type AuthorizerOptions,
} from '../bus-authorizer/index.ts';
import type { BusAuthorizer, BusDecision, BusPublicKeys } from './authorizer.ts';
import { AuthCallout } from './callout-service.ts';
import { BusConnection } from './connection.ts';
import { busOperators } from './server-config.ts';
import { NatsServer, type Svid } from './server.ts';

/** For tests of any room: a small CA, and a real bus over it. */
cryptoProvider.set(webcrypto);
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

export interface LeafOptions {
  readonly names?: JsonGeneralNames;
  readonly lifetimeMs?: number;
  readonly notBefore?: Date;
}

export interface TestCa {
  readonly certificatePem: string;
  issue(workload: Workload, options?: LeafOptions): Promise<Svid>;
}

export async function createTestCa(trustDomain: TrustDomain = defaultTrustDomain): Promise<TestCa> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const root = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: 'CN=Test CA',
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return {
    certificatePem: root.toString('pem'),
    issue: (workload, options = {}) => issue(root, keys.privateKey, trustDomain, workload, options),
  };
}

async function issue(
  root: X509Certificate,
  signingKey: CryptoKey,
  trustDomain: TrustDomain,
  workload: Workload,
  options: LeafOptions,
): Promise<Svid> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const notBefore = options.notBefore ?? new Date(Date.now() - 30_000);
  const leaf = await X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: '',
    issuer: root.subject,
    notBefore,
    notAfter: new Date(Date.now() + (options.lifetimeMs ?? 300_000)),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth, ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        options.names ?? [{ type: 'url', value: spiffeId(trustDomain, workload) }],
        true,
      ),
    ],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    keyPem: `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
    chainPem: `${leaf.toString('pem')}\n`,
    bundlePem: `${root.toString('pem')}\n`,
  };
}

/** Positive, without a leading zero byte. */
const serial = (): string => `4${randomBytes(15).toString('hex').slice(1)}0`;

export const newSessionId = (): SessionId => encodeId(randomBytes(16)) as SessionId;
export const newMessageId = (): string => encodeId(randomBytes(16));

export const identityFor = (workload: Workload): Identity =>
  identityOf(spiffeId(defaultTrustDomain, workload));

/** Where the set-up found or built it. */
export const natsServerPath = (
  JSON.parse(readFileSync(new URL('../../dist/tools.json', import.meta.url), 'utf8')) as {
    natsServer: string;
  }
).natsServer;

/** Resolves when the server has ended the connection that is in use now, also where it may come back. */
export const disconnected = (connection: BusConnection): Promise<void> =>
  connection.use(async (nc) => {
    for await (const { type } of nc.status()) if (type === 'disconnect' || type === 'close') return;
  });

export interface TestBus {
  readonly ca: TestCa;
  readonly keys: BusPublicKeys;
  readonly server: NatsServer;
  readonly folder: string;
  readonly callout: AuthCallout;
  readonly decisions: BusDecision[];
  /** Serial numbers, lower-case hex. */
  readonly revoked: Set<string>;
  connect(workload: Workload, options?: LeafOptions): Promise<BusConnection>;
  /** Ends the clients only. */
  abandon(): Promise<void>;
  close(): Promise<void>;
}

export interface TestBusOptions {
  readonly authorizer?: Partial<AuthorizerOptions>;
  /** Instead of an authorizer in this process. */
  readonly decides?: { readonly keys: BusPublicKeys; readonly authorizer: BusAuthorizer };
  /** Of a bus before; kept on close. */
  readonly folder?: string;
}

export async function startTestBus(options: TestBusOptions = {}): Promise<TestBus> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'glovebox-bus-')));
  const ca = await createTestCa();
  const decisions: BusDecision[] = [];
  const revoked = new Set<string>();
  const { keys, authorizer } = options.decides ?? decidesHere(options, decisions, revoked);
  const system = await ca.issue(busOperators.system);
  const server = await NatsServer.start({
    binary: natsServerPath,
    folder,
    name: 'test',
    trustDomain: defaultTrustDomain,
    keys,
    svid: await ca.issue({ kind: 'bus', server: 'test' }),
  });
  const callout = await AuthCallout.serve({
    address: server,
    svid: await ca.issue(busOperators.callout),
    system: () => system,
    trustDomain: defaultTrustDomain,
    authorizer,
  });
  const open = new Set<BusConnection>();
  const abandon = async (): Promise<void> => {
    await Promise.all([...open].map((connection) => connection.abort()));
    await callout.close();
  };
  return {
    ca,
    keys,
    server,
    folder,
    callout,
    decisions,
    revoked,
    connect: async (workload, leaf) => {
      const connection = await BusConnection.connect({
        address: server,
        svid: await ca.issue(workload, leaf),
        identity: identityFor(workload),
      });
      open.add(connection);
      return connection;
    },
    abandon,
    close: async () => {
      await abandon();
      await server.stop();
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

function decidesHere(
  options: TestBusOptions,
  decisions: BusDecision[],
  revoked: ReadonlySet<string>,
): { readonly keys: BusPublicKeys; readonly authorizer: BusAuthorizer } {
  const keys = createAuthorizerKeys();
  const authorizer = createAuthorizer({
    keys,
    trustDomain: defaultTrustDomain,
    isRevoked: (serialNumber) => revoked.has(serialNumber),
    now: () => new Date(),
    onDecision: (decision) => decisions.push(decision),
    ...options.authorizer,
  });
  return { keys: authorizerPublicKeys(keys), authorizer };
}
