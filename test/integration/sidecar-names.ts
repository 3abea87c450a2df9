import { randomBytes } from 'node:crypto';
import { asUserId, encodeId } from '../../pure/contracts/index.ts';

export const root = new URL('../../', import.meta.url).pathname;
export const newId = (): string => encodeId(randomBytes(16));
export const alice = asUserId('local/1000');
