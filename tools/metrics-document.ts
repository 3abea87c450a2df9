import { metrics, type MetricEntry } from '../pure/contracts/metrics.ts';

/** docs/metrics.md, made from the one table of metrics. */
export function metricsDocument(table: Readonly<Record<string, MetricEntry>> = metrics): string {
  const line = ([name, { kind, help, labels }]: readonly [string, MetricEntry]): string => {
    const shown = Object.entries(labels).map(
      ([label, values]) =>
        `\`${label}\`${values.length === 0 ? '' : `: ${values.map((value) => `\`${value}\``).join(', ')}`}`,
    );
    return `| \`${name}\` | ${kind} | ${shown.join('; ')} | ${help} |`;
  };
  return [
    '# Metrics',
    '',
    'What `glovebox metrics` prints and `GET /v1/metrics` of the operator API answers, in Prometheus’ text format. Made from',
    '`pure/contracts/metrics.ts` by `npm run docs`; a test compares the two.',
    '',
    'The operator API is a Unix socket in a folder of the person’s alone, so a scraper reads it through something of that person’s: the',
    'textfile collector of the node exporter (`glovebox metrics > glovebox.prom`, by a timer), or `curl --unix-socket`. A sidecar reports its',
    'numbers every few seconds over the channel that it inherited. No label can have a value that an agent words: no host, no path, no',
    'session.',
    '',
    '| metric | kind | labels | what it says |',
    '| --- | --- | --- | --- |',
    ...Object.entries(table).map(line),
    '',
  ].join('\n');
}
