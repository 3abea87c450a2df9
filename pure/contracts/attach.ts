import { z } from 'zod';
import { endReasons, sessionStates } from './session-end.ts';

/**
 * The attach channel, CLI ↔ sidecar: HTTP/2 on the upgraded operator connection, after the sidecar's byte `G`. The CLI is the
 * client. `POST /v1/control` carries these, newline-delimited: request body commands, response body events. Then
 * `POST /v1/stdio/terminal` (both ways), or `POST /v1/stdio/stdin` (request body → the command's stdin; its end is EOF) and
 * `POST /v1/stdio/stdout`, `POST /v1/stdio/stderr` (response body ← the command).
 */
export const attachCommand = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('resize'),
    rows: z.int().min(1).max(1000),
    cols: z.int().min(1).max(1000),
  }),
  z.strictObject({ type: z.literal('signal'), signal: z.int().min(1).max(64) }),
  z.strictObject({ type: z.literal('detach') }),
  /** Something else was drawn over the terminal: the screen is sent once more, in its place among the output. */
  z.strictObject({ type: z.literal('redraw') }),
]);
export type AttachCommand = z.infer<typeof attachCommand>;

export const attachEvent = z.discriminatedUnion('type', [
  z.object({ type: z.literal('state'), state: z.enum(sessionStates) }),
  /** Once, last, after all output was delivered. */
  z.object({
    type: z.literal('exited'),
    code: z.int().nullable(),
    signal: z.int().nullable(),
    reason: z.enum(endReasons),
  }),
]);
export type AttachEvent = z.infer<typeof attachEvent>;
