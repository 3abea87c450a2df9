import type { SessionView } from '../../../pure/contracts/index.ts';
import type { OperatorClient } from '../../client/index.ts';
import { hasColour, note } from '../output.ts';
import { freshCode } from '../terminal/fresh-code.ts';
import { systemClock } from '../terminal/guarded-line.ts';
import { ConsentDesk } from './consent-desk.ts';
import type { LocalEnds, SessionIo } from './session-io.ts';

/** Puts the session's questions to the person at this terminal until `stop`. */
export async function askAtTerminal(
  client: OperatorClient,
  session: SessionView,
  ends: LocalEnds,
  io: SessionIo,
  stop: AbortSignal,
): Promise<void> {
  const desk = new ConsentDesk({
    client,
    screen: io,
    input: io.input,
    write: (text) => void ends.stderr.write(text),
    clock: systemClock,
    width: () => ends.stderr.columns || 80,
    colour: hasColour(ends.stderr),
    freshCode,
  });
  try {
    for await (const event of await client.events(session.id, stop)) desk.handle(event);
    if (!stop.aborted) note('questions are no longer shown here; answer them with: glovebox approve');
  } finally {
    await desk.close();
  }
}
