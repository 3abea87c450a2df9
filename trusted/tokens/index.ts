export { purposes, type Purpose } from './purpose.ts';
export { TokenVerifier, type Verified } from './verify.ts';
