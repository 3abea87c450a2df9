import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** What comparing a session's changes needs besides the layer itself; in the session's own folder, where no agent writes. */
const stagedNotes = z.object({
  /** Files that were applied in part, and what they were right after. */
  partly: z.record(z.string(), z.string()).default({}),
  /** How far the host's clock was set back while the session ran: change times of the host lie that much before their time. */
  setBackMs: z.number().min(0).default(0),
});
export type StagedNotes = z.infer<typeof stagedNotes>;

const fileOf = (folder: string): string => join(folder, 'staged-notes.json');

export async function readStagedNotes(folder: string): Promise<StagedNotes> {
  let text: string;
  try {
    text = await readFile(fileOf(folder), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return stagedNotes.parse({});
    throw error;
  }
  return stagedNotes.parse(JSON.parse(text));
}

async function write(folder: string, notes: StagedNotes): Promise<void> {
  const file = fileOf(folder);
  await writeFile(`${file}.new`, JSON.stringify(notes), { mode: 0o600 });
  await rename(`${file}.new`, file);
}

export async function notePartly(folder: string, partly: Readonly<Record<string, string>>): Promise<void> {
  if (Object.keys(partly).length === 0) return;
  const notes = await readStagedNotes(folder);
  await write(folder, { ...notes, partly: { ...notes.partly, ...partly } });
}

/** A clock that was set back makes what the host changed afterwards look older than the session. */
export async function noteSetBack(folder: string, ms: number): Promise<void> {
  const notes = await readStagedNotes(folder);
  if (ms > notes.setBackMs) await write(folder, { ...notes, setBackMs: ms });
}
