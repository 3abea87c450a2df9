import type { EndReason, SessionState } from '../contracts/index.ts';

/**
 * The life of a session, as a function of values (SPIRE's habit: a loop that can be killed at any line). Each transition is
 * written before its effect is carried out, and each is idempotent: the same event twice changes nothing the second time.
 * Times are ISO 8601.
 */
export interface SessionLife {
  readonly state: SessionState;
  readonly reason: EndReason | null;
  readonly exitCode: number | null;
  readonly exitSignal: number | null;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly detail: string | null;
}

export type SessionEvent =
  | { readonly type: 'prepare' }
  | { readonly type: 'started'; readonly at: string }
  /** The command ended by itself, or by what ended the session. */
  | { readonly type: 'exited'; readonly code: number | null; readonly signal: number | null }
  /** Something other than the command's own end. The first reason is kept. */
  | { readonly type: 'end'; readonly reason: EndReason; readonly detail: string | null }
  /** Why it ended is known better now, e.g. a memory limit explains a dead sandbox. Only before `ended`. */
  | { readonly type: 'explain'; readonly reason: EndReason; readonly detail: string }
  /** Sandbox, link and sidecar are gone. */
  | { readonly type: 'removed'; readonly at: string }
  /** The control plane found it unfinished at its start: everything of it died with its predecessor (R46). */
  | { readonly type: 'found-unfinished'; readonly at: string };

export type Transition =
  | { readonly kind: 'moved'; readonly life: SessionLife }
  | { readonly kind: 'same' }
  | { readonly kind: 'refused'; readonly needed: string };

export const newborn: SessionLife = {
  state: 'created',
  reason: null,
  exitCode: null,
  exitSignal: null,
  startedAt: null,
  endedAt: null,
  detail: null,
};

const same: Transition = { kind: 'same' };
const moved = (life: SessionLife): Transition => ({ kind: 'moved', life });
const refused = (needed: string): Transition => ({ kind: 'refused', needed });

export function transition(life: SessionLife, event: SessionEvent): Transition {
  switch (event.type) {
    case 'prepare':
      if (life.state === 'created') return moved({ ...life, state: 'preparing' });
      return life.state === 'preparing' ? same : refused('created');
    case 'started':
      if (life.state === 'preparing') return moved({ ...life, state: 'running', startedAt: event.at });
      // A report that crosses an end on its way is late, not wrong.
      return life.state === 'created' ? refused('preparing') : same;
    case 'exited':
      return exited(life, event.code, event.signal);
    case 'end':
      if (life.state === 'ending' || life.state === 'ended') return same;
      return moved({ ...life, state: 'ending', reason: event.reason, detail: event.detail });
    case 'explain':
      if (life.state !== 'ending') return life.state === 'ended' ? same : refused('ending');
      return life.reason === event.reason && life.detail === event.detail
        ? same
        : moved({ ...life, reason: event.reason, detail: event.detail });
    case 'removed':
      if (life.state === 'ended') return same;
      return life.state === 'ending'
        ? moved({ ...life, state: 'ended', endedAt: event.at })
        : refused('ending');
    case 'found-unfinished':
      if (life.state === 'ended') return same;
      return moved({
        ...life,
        state: 'ended',
        reason: life.reason ?? 'daemon-died',
        endedAt: event.at,
        detail:
          life.detail ?? 'Glovebox itself ended while this session was open; its staged changes were kept.',
      });
  }
}

function exited(life: SessionLife, code: number | null, signal: number | null): Transition {
  switch (life.state) {
    case 'created':
      return refused('running');
    case 'preparing':
    case 'running':
      return moved({ ...life, state: 'ending', reason: 'exited', exitCode: code, exitSignal: signal });
    case 'ending':
      // The command's own end during an ordered one: the reason stays, the numbers are filled in once.
      if (life.exitCode !== null || life.exitSignal !== null || (code === null && signal === null))
        return same;
      return moved({ ...life, exitCode: code, exitSignal: signal });
    case 'ended':
      return same;
  }
}

/** Whether processes, mounts or sockets of this session may exist. */
export const isLive = (state: SessionState): boolean => state !== 'ended';
