import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sessionStates } from '../contracts/index.ts';
import { newborn, transition, type SessionEvent, type SessionLife } from './session-machine.ts';

const at = '2026-11-01T00:00:00.000Z';
const step = (life: SessionLife, event: SessionEvent): SessionLife => {
  const result = transition(life, event);
  return result.kind === 'moved' ? result.life : life;
};
const walk = (events: readonly SessionEvent[]): SessionLife => events.reduce(step, newborn);

const anyEvent: fc.Arbitrary<SessionEvent> = fc.oneof(
  fc.constant<SessionEvent>({ type: 'prepare' }),
  fc.constant<SessionEvent>({ type: 'started', at }),
  fc.record({
    type: fc.constant('exited' as const),
    code: fc.option(fc.nat(255)),
    signal: fc.option(fc.integer({ min: 1, max: 64 })),
  }),
  fc.constantFrom('stopped', 'time-limit', 'sidecar-died').map((reason): SessionEvent => ({
    type: 'end',
    reason: reason as 'stopped',
    detail: null,
  })),
  fc.constant<SessionEvent>({ type: 'explain', reason: 'memory-limit', detail: 'the tier holds 4 GiB' }),
  fc.constant<SessionEvent>({ type: 'removed', at }),
  fc.constant<SessionEvent>({ type: 'found-unfinished', at }),
);

describe('the session machine', () => {
  test('an ordinary run goes through every state', () => {
    const life = walk([
      { type: 'prepare' },
      { type: 'started', at },
      { type: 'exited', code: 3, signal: null },
      { type: 'removed', at },
    ]);
    expect(life).toEqual({
      ...newborn,
      state: 'ended',
      reason: 'exited',
      exitCode: 3,
      startedAt: at,
      endedAt: at,
    });
  });

  test('each event is idempotent: twice is once', () => {
    fc.assert(
      fc.property(fc.array(anyEvent), anyEvent, (before, event) => {
        const once = step(walk(before), event);
        expect(step(once, event)).toEqual(once);
      }),
    );
  });

  test('states only go forward, and an ended session never changes', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 12 }), (events) => {
        let life = newborn;
        for (const event of events) {
          const next = step(life, event);
          expect(sessionStates.indexOf(next.state)).toBeGreaterThanOrEqual(sessionStates.indexOf(life.state));
          if (life.state === 'ended') expect(next).toEqual(life);
          life = next;
        }
      }),
    );
  });

  test('an ended session always has a reason, and the first reason given stays', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 12 }), (events) => {
        const life = walk(events);
        if (life.state === 'ending' || life.state === 'ended') expect(life.reason).not.toBeNull();
      }),
    );
    const stopped = walk([
      { type: 'prepare' },
      { type: 'started', at },
      { type: 'end', reason: 'stopped', detail: null },
      { type: 'end', reason: 'sidecar-died', detail: 'late' },
      { type: 'exited', code: null, signal: 15 },
    ]);
    expect(stopped).toMatchObject({ state: 'ending', reason: 'stopped', exitSignal: 15 });
  });

  test('[R46] whatever was open when the control plane died is ended by its next start', () => {
    expect(walk([{ type: 'prepare' }, { type: 'found-unfinished', at }])).toMatchObject({
      state: 'ended',
      reason: 'daemon-died',
    });
    expect(
      walk([
        { type: 'prepare' },
        { type: 'end', reason: 'stopped', detail: null },
        { type: 'found-unfinished', at },
      ]),
    ).toMatchObject({ state: 'ended', reason: 'stopped' });
  });

  test('a step out of order is refused and says what it needs', () => {
    expect(transition(newborn, { type: 'started', at })).toEqual({ kind: 'refused', needed: 'preparing' });
    expect(transition(newborn, { type: 'removed', at })).toEqual({ kind: 'refused', needed: 'ending' });
  });
});
