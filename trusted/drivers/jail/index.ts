export { jailNamespaces, jailedCommand, spawnJailed, type JailedProcess, type JailOptions } from './jail.ts';
