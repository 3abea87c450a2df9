import type { Stats } from 'node:fs';

/** Differs once a file was written, replaced or renamed: nobody can set its change time back. */
export const identityOf = (entry: Stats): string => `${entry.ino} ${entry.ctimeMs} ${entry.size}`;
