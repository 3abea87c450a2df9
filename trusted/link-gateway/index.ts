export { LinkGateway, type LinkConnection, type LinkGatewayOptions } from './link-gateway.ts';
export type { SandboxRelay } from './sandbox-renewal.ts';
