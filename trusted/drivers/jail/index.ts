export { jailNamespaces, spawnJailed, type JailOptions } from './jail.ts';
