// Preloaded (`node --import`) into the conformance suite, which imports a function that Node 20's `fs` does not have. It needs it
// for a report that nobody here asks for.
import { register } from 'node:module';

const fs = `export * from 'node:fs';
export const globSync = () => { throw new Error('not in this version of Node'); };`;
const url = (text) => `data:text/javascript,${encodeURIComponent(text)}`;

register(
  url(`export const resolve = (specifier, context, next) =>
    specifier === 'fs' && context.parentURL?.includes('/conformance/')
      ? { url: ${JSON.stringify(url(fs))}, shortCircuit: true }
      : next(specifier, context);`),
);
