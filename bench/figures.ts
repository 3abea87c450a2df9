/** Of an even number of values the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/**
 * Two things measured in turns: each pair had the same neighbours on the machine, so what disturbed one disturbed the other. The
 * ratio is the median of the pairs' own ratios.
 */
export const pairedRatio = (one: readonly number[], other: readonly number[]): number =>
  median(one.flatMap((value, index) => (other[index] === undefined ? [] : [value / other[index]])));

export const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`;
export const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
export const times = (value: number): string => `${value.toFixed(2)}×`;
export const spread = (values: readonly number[]): string =>
  `${ms(quantile(values, 0.25))} to ${ms(quantile(values, 0.75))}`;

/** A Markdown table. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, index) => (index === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}
