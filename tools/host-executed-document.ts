import { hostExecutedTable, type HostExecuted } from '../pure/policy/index.ts';

const code = (name: string): string => `\`${name}\``;

/** docs/host-executed.md, made from the one table, so that what is published is what is guarded [R48]. */
export function hostExecutedDocument(table: readonly HostExecuted[] = hostExecutedTable): string {
  const rows = table.map(({ names, reason }) => `| ${reason} | ${names.map(code).join(' ')} |`);
  return [
    '# What tools on your machine execute or obey unasked',
    '',
    'Some files act as soon as they lie in a folder: a hook runs at the next commit, `.envrc` at the next `cd`. An agent',
    'that may write them could act outside its sandbox, with your rights. So:',
    '',
    '- A **staged** workspace asks for each of them by name at `glovebox apply`.',
    '- A **direct** workspace shows those that exist read-only, and they cannot be moved away. New ones, and links on the',
    '  list that were replaced, are named when the session ends; they are not prevented.',
    '',
    'Names are compared without case, in every folder of the workspace. One with a slash at its end is a folder, with all',
    'below it. Made from `pure/policy/host-executed.ts` by `npm run docs`; a test compares the two.',
    '',
    '| why | names |',
    '| --- | --- |',
    '| git runs or obeys it: hooks, configuration, where a repository is | all in `.git` but its data (`objects`, `refs`, `logs`, `index`, `HEAD`, `packed-refs` and the like) |',
    ...rows,
    '',
    '## What direct mode does not do',
    '',
    '- Folders named `node_modules` are left out: there are thousands of packages in them. A staged workspace asks for',
    '  these too.',
    '- A link on the list cannot be mounted over: what it stands for is read-only where it lies in the workspace, the link',
    '  itself is watched and named at the end.',
    '- Folders between the workspace and a guarded file cannot be renamed or removed, and a file moved across them is',
    '  copied. `git config`, new hooks and submodules do not work inside: make them outside, or work staged.',
    '- Two sessions that run in one folder at once: what the first makes while the second starts is not guarded in the',
    '  second. Use staged workspaces for that.',
    '',
  ].join('\n');
}
