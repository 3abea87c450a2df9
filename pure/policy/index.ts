export { credentialFiles, isCredentialFile } from './credential-files.ts';
export { parsePolicy, parsePreset, parseYaml } from './parse.ts';
export { parseDuration } from './duration.ts';
export { nearest } from './nearest.ts';
