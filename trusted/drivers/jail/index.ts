export { spawnJailed, type JailOptions } from './jail.ts';
