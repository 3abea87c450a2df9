export * from './shown.ts';
