import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  status,
  type ServerWritableStream,
  type ServiceClientConstructor,
} from '@grpc/grpc-js';
import { fromJSON } from '@grpc/proto-loader';
import type { GloveboxError } from '../../pure/contracts/index.ts';
import { limits } from '../../pure/contracts/index.ts';
import type { SvidMaterial } from '../identity/index.ts';
import { refuseLoose } from '../store/index.ts';
import { workloadApiProto } from './workload-api-proto.ts';

/** What is needed of the identity that is handed out; an SvidSource is one. */
export interface OfferedIdentity {
  current(): SvidMaterial;
  onRotate(listener: (svid: SvidMaterial) => void): () => void;
  onEnd(listener: (reason: GloveboxError) => void): () => void;
}

export interface WorkloadSocketOptions {
  /**
   * A folder of this socket alone. Node does not tell who is at the other end of a Unix socket (SO_PEERCRED), so the kernel
   * attests by the folder: mode 0700, ours, and whoever can enter it is the one workload that it was made for.
   */
  readonly folder: string;
  readonly identity: OfferedIdentity;
}

type Call = ServerWritableStream<object, object>;

/** Required of every call (SPIFFE Workload Endpoint, section 5): no browser or proxy sends it by mistake. */
const securityHeader = 'workload.spiffe.io';

/** The SPIFFE Workload API for one workload: its SVID, and each later one, for any SPIFFE client [R7]. */
export class WorkloadSocket {
  readonly path: string;
  readonly #server: Server;
  readonly #identity: OfferedIdentity;
  readonly #open = new Set<Call>();
  readonly #unlisten: readonly (() => void)[];
  #ended: string | undefined;

  private constructor(path: string, identity: OfferedIdentity) {
    this.path = path;
    this.#identity = identity;
    this.#server = new Server({ 'grpc.max_concurrent_streams': limits.workloadStreams.value });
    this.#server.addService(service, {
      FetchX509SVID: (call: Call) => this.#serve(call, svidResponse),
      FetchX509Bundles: (call: Call) => this.#serve(call, bundlesResponse),
    });
    this.#unlisten = [identity.onEnd((reason) => this.end(reason.why))];
  }

  static async open({ folder, identity }: WorkloadSocketOptions): Promise<WorkloadSocket> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await refuseLoose(folder);
    const socket = new WorkloadSocket(join(folder, 'api.sock'), identity);
    // What a crash left: the folder is this socket's alone.
    await rm(socket.path, { force: true });
    await new Promise<void>((resolve, reject) => {
      socket.#server.bindAsync(`unix:${socket.path}`, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    await chmod(socket.path, 0o600);
    return socket;
  }

  /** The workload has no identity any more: its streams end, and new ones are told so (Workload API, section 5.2.2). */
  end(why: string): void {
    this.#ended = why;
    for (const call of this.#open) refuse(call, status.PERMISSION_DENIED, why);
  }

  async close(): Promise<void> {
    for (const stop of this.#unlisten) stop();
    this.#server.forceShutdown();
    await rm(this.path, { force: true });
  }

  #serve(call: Call, response: (svid: SvidMaterial) => object): void {
    if (call.metadata.get(securityHeader).join() !== 'true')
      return refuse(call, status.INVALID_ARGUMENT, `the header ${securityHeader}: true is missing`);
    if (this.#ended !== undefined) return refuse(call, status.PERMISSION_DENIED, this.#ended);
    let svid: SvidMaterial;
    try {
      svid = this.#identity.current();
    } catch {
      // It has ended: there is nothing to hand out, whatever the reason.
      return refuse(call, status.PERMISSION_DENIED, 'this workload has no certificate');
    }
    this.#open.add(call);
    const stop = this.#identity.onRotate((next) => void call.write(response(next)));
    call.once('close', () => {
      stop();
      this.#open.delete(call);
    });
    call.once('cancelled', () => call.end());
    call.write(response(svid));
  }
}

const definition = fromJSON(workloadApiProto, { keepCase: true });
const { service } = loadPackageDefinition(definition)['SpiffeWorkloadAPI'] as ServiceClientConstructor;

function svidResponse(svid: SvidMaterial): object {
  const key = createPrivateKey(svid.keyPem).export({ format: 'der', type: 'pkcs8' });
  const x509Svid = {
    spiffe_id: svid.id,
    x509_svid: derOf(svid.chainPem),
    x509_svid_key: key,
    bundle: derOf(svid.bundlePem),
  };
  return { svids: [x509Svid] };
}

const bundlesResponse = (svid: SvidMaterial): object => ({
  bundles: { [`spiffe://${svid.identity.trustDomain}`]: derOf(svid.bundlePem) },
});

/** The certificates one after the other, without padding (Workload API, section 5.2.1). */
const derOf = (pem: string): Buffer =>
  Buffer.concat(
    (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map(
      (one) => new X509Certificate(one).raw,
    ),
  );

function refuse(call: Call, code: status, details: string): void {
  call.emit('error', { code, details });
}
