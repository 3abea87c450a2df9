export { LinkServer, type LinkEnd, type LinkHandlers, type LinkRenewal } from './link-server.ts';
export { everySecond, type Ticker } from './heartbeat.ts';
export { Lines } from './lines.ts';
export type { LinkCommand, LinkEvent, RenewalEvent, StdioName, WindowSize } from './messages.ts';
export { endConnection, resetStream } from './reset.ts';
