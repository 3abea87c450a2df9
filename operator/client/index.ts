export { attach, type Attachment, type AttachTarget, type StdioName } from './attach.ts';
export { readNdjson } from './ndjson.ts';
export {
  createOperatorClient,
  type JsonRoute,
  type OperatorClient,
  type RouteInput,
  type RouteOutput,
} from './operator-client.ts';
export { OperatorError, readErrorBody } from './operator-error.ts';
