import { randomInt } from 'node:crypto';

export const freshCode = (): string => String(randomInt(10_000)).padStart(4, '0');
