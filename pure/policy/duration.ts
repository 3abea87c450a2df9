const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

/** `30m`, `8h`, `45s` → seconds; null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^([1-9][0-9]{0,4})([smh])$/.exec(text);
  const unit = units[match?.[2] ?? ''];
  return match === null || unit === undefined ? null : Number(match[1]) * unit;
}
