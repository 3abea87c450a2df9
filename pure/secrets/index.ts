export { looksLikeKey } from './key-shape.ts';
