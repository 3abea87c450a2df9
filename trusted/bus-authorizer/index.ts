export { createAuthorizer, type AuthorizerOptions } from './authorizer.ts';
export { authorizerPublicKeys, createAuthorizerKeys, type AuthorizerKeys } from './keys.ts';
