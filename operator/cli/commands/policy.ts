import { stringify } from 'yaml';
import { GloveboxError, type PolicyStatus } from '../../../pure/contracts/index.ts';
import { escapeUntrusted } from '../../../pure/render/index.ts';
import { connect } from '../connect.ts';
import { print, printJson } from '../output.ts';
import { readPolicy } from '../run/session-request.ts';
import { isLive, sessionHere } from '../sessions.ts';

interface PolicyOptions {
  readonly policy?: string;
  readonly json?: boolean;
}

export async function policy(what: string, id: string | undefined, options: PolicyOptions): Promise<number> {
  const json = options.json === true;
  switch (what) {
    case 'show':
      return show(id, json);
    case 'set':
      return set(id, options.policy, json);
    default:
      throw new GloveboxError('GB_USAGE', {
        detail: `policy ${what}`,
        hint: 'It is glovebox policy show [SESSION], or glovebox policy set [SESSION] --policy FILE.',
      });
  }
}

/** What is printed can be written to a file, changed, and set. */
async function show(id: string | undefined, json: boolean): Promise<number> {
  const { client } = connect();
  const session = await sessionHere(client, id, isLive, 'that is running');
  const params = { id: session.id };
  const [{ document }, status] = await Promise.all([
    client.call('getSandboxPolicy', { params }),
    client.call('getSandboxPolicyStatus', { params }),
  ]);
  if (json) {
    printJson({ ...status, document });
    return 0;
  }
  const text = stringify(document)
    .trimEnd()
    .split('\n')
    .map((line) => escapeUntrusted(line, 10_000));
  print([`# ${words(status)}`, ...text].join('\n'));
  return 0;
}

async function set(id: string | undefined, file: string | undefined, json: boolean): Promise<number> {
  if (file === undefined) {
    throw new GloveboxError('GB_USAGE', {
      detail: 'policy set without --policy',
      hint: 'It is glovebox policy set [SESSION] --policy FILE.',
    });
  }
  const body = readPolicy(file);
  const { client } = connect();
  const session = await sessionHere(client, id, isLive, 'that is running');
  const status = await client.call('updateSandboxPolicy', { params: { id: session.id }, body });
  if (json) printJson(status);
  else print(words(status));
  return 0;
}

const words = ({ name, generation, applied }: PolicyStatus): string =>
  `${escapeUntrusted(name, 64)}: policy generation ${generation}, ${applied === generation ? 'applied' : applied === 0 ? 'not applied yet' : `generation ${applied} is applied`}`;
