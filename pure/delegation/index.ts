export { childPolicy } from './child-policy.ts';
