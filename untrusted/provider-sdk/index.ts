export { readBootstrap, providerBootstrap, type ProviderBootstrap } from './bootstrap.ts';
export { ProviderFailure, serveProvider, type Operation } from './serve.ts';
