import { GloveboxError, type HostReport, type UserId } from '../../pure/contracts/index.ts';
import type { WaiverStore } from '../store/index.ts';
import type { AuditTrail, Clock, HostProbe } from './ports.ts';

/** What this host can hold of the guarantees, probed once a start and after each waiver; a run on an unfit host is refused. */
export class HostFitness {
  readonly #probe: HostProbe;
  readonly #waivers: WaiverStore;
  readonly #audit: AuditTrail;
  readonly #clock: Clock;
  #report: Promise<HostReport> | undefined;
  #again = nextLook();

  constructor(probe: HostProbe, waivers: WaiverStore, audit: AuditTrail, clock: Clock) {
    this.#probe = probe;
    this.#waivers = waivers;
    this.#audit = audit;
    this.#clock = clock;
  }

  async report(): Promise<HostReport> {
    const report = (this.#report ??= this.#look());
    try {
      return await report;
    } catch (error) {
      // Not remembered: a probe that failed is tried again, and until then nothing starts.
      if (this.#report === report) this.#report = undefined;
      throw error;
    }
  }

  /** Looks again: what a person has changed since counts at once. */
  async refresh(): Promise<HostReport> {
    this.#report = undefined;
    try {
      return await this.report();
    } finally {
      const { seen } = this.#again;
      this.#again = nextLook();
      seen();
    }
  }

  /** Resolves when it was looked at again: by a person's `doctor`, or after a waiver. */
  changed(): Promise<void> {
    return this.#again.next;
  }

  async waive(name: string, waived: boolean, user: UserId): Promise<HostReport> {
    const at = new Date(this.#clock.now()).toISOString();
    // Recorded before it holds: a floor that was lowered is never without its record.
    await this.#audit.record({
      session: 'system',
      operation: waived ? 'host.waive' : 'host.unwaive',
      decision: 'allow',
      rule: 'operator',
      detail: name,
      user,
    });
    if (waived) await this.#waivers.add({ name, user, at });
    else await this.#waivers.remove(name);
    return await this.refresh();
  }

  async requireFit(): Promise<void> {
    const report = await this.report();
    if (report.fit) return;
    const missing = report.guarantees.filter((one) => one.state === 'missing');
    throw new GloveboxError('GB_HOST_UNFIT', {
      missing: missing.map((one) => one.title).join(', ') || 'a guarantee',
      detail: missing.map((one) => one.detail).join('; ') || 'see `glovebox doctor`',
      todo:
        missing
          .map((one) => one.todo ?? '')
          .filter((one) => one !== '')
          .join(' ') || 'Run `glovebox doctor`.',
    });
  }

  /** What this host lacks and a person gave up, in words, for every run (R24). */
  async waived(): Promise<readonly string[]> {
    const { guarantees } = await this.report();
    return guarantees
      .filter(({ state }) => state === 'waived')
      .map(({ id, detail }) => `${id} is waived: ${detail}`);
  }

  async waivedNames(): Promise<readonly string[]> {
    return (await this.#waivers.list()).map((waiver) => waiver.name);
  }

  async #look(): Promise<HostReport> {
    return await this.#probe.probe(await this.waivedNames());
  }
}

function nextLook(): { readonly next: Promise<void>; readonly seen: () => void } {
  let seen: () => void = () => undefined;
  const next = new Promise<void>((resolve) => (seen = resolve));
  return { next, seen };
}
