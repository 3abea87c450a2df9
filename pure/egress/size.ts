const units: Readonly<Record<string, number>> = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** `512KB` in bytes; the policy's schema has seen to its form. */
export const bytesOf = (size: string): number => {
  const [, number = '0', unit = 'B'] = /^([0-9]+)([KMG]?B)$/.exec(size) ?? [];
  return Number(number) * (units[unit] ?? 0);
};
