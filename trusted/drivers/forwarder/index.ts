export { forwarderReport, forwarderStart, type ForwarderReport, type ForwarderStart } from './channel.ts';
