import { GloveboxError } from '../../../pure/contracts/index.ts';

const seconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86400 };

/** `90s`, `30m`, `8h`, `2d` as seconds. */
export function readDuration(text: string): number {
  const match = /^([1-9][0-9]{0,6})([smhd])$/.exec(text);
  const total = match === null ? 0 : Number(match[1]) * (seconds[match[2] ?? ''] ?? 0);
  if (total >= 1 && total <= 30 * 86400) return total;
  throw new GloveboxError('GB_INPUT_INVALID', {
    what: `The duration ${text}`,
    detail: 'it is a number and s, m, h or d, such as 30m or 8h, and at most 30d',
  });
}
