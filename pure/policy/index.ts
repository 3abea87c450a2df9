export { parsePolicy, parsePreset, parseYaml } from './parse.ts';
export { parseDuration } from './duration.ts';
export { nearest } from './nearest.ts';
