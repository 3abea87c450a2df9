export { certificatesIn } from './certificates.ts';
export { looksLikeKey } from './key-shape.ts';
