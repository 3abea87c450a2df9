import { describe, expect, it } from 'vitest';
import { metrics as table, sidecarReport } from '../../pure/contracts/index.ts';
import { EgressCounter } from '../sidecar/testing.ts';
import { Metrics } from './metrics.ts';

const made = (changes: Partial<ConstructorParameters<typeof Metrics>[0]> = {}): Metrics =>
  new Metrics({
    version: '1.2.3',
    sessions: () => Promise.resolve(['running', 'running', 'ending']),
    warmSidecars: () => 2,
    streamEnd: () => Promise.resolve(40),
    trailEnd: () => Promise.resolve(37),
    now: () => 5,
    busWait: 10_000,
    ...changes,
  });
const lines = async (metrics: Metrics): Promise<string[]> => (await metrics.text()).text.split('\n');

describe('the numbers of a control plane', () => {
  it('are what its sidecars counted, added up', async () => {
    const metrics = made();
    for (const ms of [1, 30, 700_000]) {
      const counter = new EgressCounter();
      counter.decided('allow', 'egress.0');
      counter.over(ms < 100, { status: 200, address: null, sent: 10, received: 100, ms });
      counter.decided('deny', 'egress.7');
      counter.decided('deny', 'egress.default');
      const report = sidecarReport.parse({ type: 'egress-counted', counts: counter.take() });
      if (report.type === 'egress-counted') metrics.counted(report.counts);
      expect(counter.take()).toBeNull();
    }
    const found = await lines(metrics);
    for (const line of [
      'glovebox_egress_requests_total{decision="allow"} 3',
      'glovebox_egress_requests_total{decision="deny"} 6',
      'glovebox_egress_requests_total{decision="ask"} 0',
      'glovebox_egress_denials_total{check="rule"} 3',
      'glovebox_egress_denials_total{check="egress.default"} 3',
      'glovebox_egress_failures_total 1',
      'glovebox_egress_bytes_total{direction="out"} 30',
      'glovebox_egress_bytes_total{direction="in"} 300',
      'glovebox_egress_request_seconds_bucket{le="0.005"} 1',
      'glovebox_egress_request_seconds_bucket{le="0.05"} 2',
      'glovebox_egress_request_seconds_bucket{le="+Inf"} 3',
      'glovebox_egress_request_seconds_count 3',
      'glovebox_sessions{state="running"} 2',
      'glovebox_sessions{state="preparing"} 0',
      'glovebox_sidecars_warm 2',
      'glovebox_audit_lag_records 3',
      'glovebox_bus_up 1',
      'glovebox_build_info{version="1.2.3"} 1',
    ])
      expect(found).toContain(line);
  });

  it('have no label with a value that an agent words', async () => {
    const metrics = made();
    const counter = new EgressCounter();
    counter.decided('deny', 'evil.example');
    counter.decided('deny', 'egress.1"} 7');
    const counts = counter.take();
    if (counts !== null) metrics.counted(counts);
    const found = await lines(metrics);
    expect(found).toContain('glovebox_egress_denials_total{check="other"} 2');
    const series = found.filter((line) => line !== '' && !line.startsWith('#'));
    const allowed = Object.values(table).flatMap(({ labels }) => Object.values(labels).flat() as string[]);
    for (const line of series)
      for (const [, label = '', value = ''] of line.matchAll(/([a-z]+)="([^"]*)"/g))
        if (label !== 'le' && label !== 'version') expect(allowed).toContain(value);
    // A sidecar that says something else is not one.
    const report = { type: 'egress-counted', counts: { ...counts, denials: { 'evil.example': 1 } } };
    expect(sidecarReport.safeParse(report).success).toBe(false);
  });

  it('a bus that fails or does not answer is a number', async () => {
    const down = made({ streamEnd: () => Promise.reject(new Error('down')) });
    expect(await lines(down)).toContain('glovebox_bus_up 0');
    const silent = made({ streamEnd: () => new Promise(() => undefined), busWait: 1 });
    expect(await lines(silent)).toContain('glovebox_bus_up 0');
  });
});
