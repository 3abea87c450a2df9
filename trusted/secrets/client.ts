import { fork, type ChildProcess } from 'node:child_process';
import { GloveboxError, limits } from '../../pure/contracts/index.ts';
import { brokerReport, type BrokerBootstrap, type BrokerReport, type BrokerRevocation } from './bootstrap.ts';

export interface BrokerProcessOptions {
  /** The bundle (dist/secret-broker.js). */
  readonly entry: string;
  readonly bootstrap: BrokerBootstrap;
  readonly onRefused: (report: Extract<BrokerReport, { type: 'refused' }>) => void;
  readonly onAsked: (report: Extract<BrokerReport, { type: 'asked' }>) => void;
  readonly onLine: (line: string) => void;
}

/** The secret broker as a child of the control plane. */
export class BrokerProcess {
  readonly host: string;
  readonly port: number;
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, exited: Promise<void>, host: string, port: number) {
    this.#child = child;
    this.exited = exited;
    this.host = host;
    this.port = port;
  }

  static async start(options: BrokerProcessOptions): Promise<BrokerProcess> {
    const child = fork(options.entry, [], {
      env: {},
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'json',
    });
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    child.stderr?.setEncoding('utf8');
    child.stderr?.on('data', (text: string) => {
      for (const line of text.split('\n')) if (line !== '') options.onLine(line.slice(0, 2000));
    });
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<BrokerProcess>((resolve, reject) => {
        const fail = (detail: string): void =>
          reject(new GloveboxError('GB_UPSTREAM_FAILED', { what: 'The secret broker', detail }));
        timer = setTimeout(() => fail('it was not ready in time'), limits.sidecarStart.value);
        child.on('message', (message) => {
          const report = brokerReport.safeParse(message);
          if (!report.success) return;
          if (report.data.type === 'ready') {
            resolve(new BrokerProcess(child, exited, report.data.host, report.data.port));
          }
          if (report.data.type === 'failed') fail(report.data.detail);
          if (report.data.type === 'refused') options.onRefused(report.data);
          if (report.data.type === 'asked') options.onAsked(report.data);
        });
        void exited.then(() => fail('it ended at its start'));
        child.send(options.bootstrap, (error) => {
          if (error !== null) fail(error.message);
        });
      });
    } catch (error) {
      child.kill('SIGKILL');
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** A broker that is gone already serves nobody; the next one is told in its bootstrap. */
  revoke(serials: readonly string[]): void {
    const word: BrokerRevocation = { type: 'revoked', serials: [...serials] };
    if (this.#child.connected) this.#child.send(word);
  }

  /** Closes the channel, at which it ends by itself. */
  async stop(): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.exited;
  }
}
