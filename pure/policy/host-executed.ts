/**
 * What tools on a person's machine execute or obey without being asked, once it lies in a folder (R48): staged changes to these
 * are asked for by name at apply, direct mode mounts them read-only. Names are compared without case: some file systems do.
 */
export interface HostExecuted {
  readonly names: readonly string[];
  readonly reason: string;
}

/** A name with a slash at its end is a folder, with all below it; one with a slash inside is a path's end. */
export const hostExecutedTable: readonly HostExecuted[] = [
  {
    names: ['.gitmodules', '.gitattributes', '.gitconfig'],
    reason: 'git obeys it: filters, drivers, addresses of submodules',
  },
  {
    names: [
      '.husky/',
      '.githooks/',
      'lefthook.yml',
      'lefthook.yaml',
      '.lefthook/',
      '.pre-commit-config.yaml',
      '.overcommit.yml',
    ],
    reason: 'git hooks run it',
  },
  {
    names: [
      '.envrc',
      '.direnv/',
      '.tool-versions',
      'mise.toml',
      '.mise.toml',
      '.mise/',
      '.rtx.toml',
      '.autoenv',
      '.env.fish',
    ],
    reason: 'the shell runs it on entering the folder',
  },
  {
    names: [
      '.vscode/',
      '.idea/',
      '.fleet/',
      '.zed/',
      '.devcontainer/',
      '.devcontainer.json',
      '.vs/',
      '.theia/',
      '.sublime-project',
      '.nvim.lua',
      '.nvimrc',
      '.exrc',
      '.vimrc',
      '.lvimrc',
      '.dir-locals.el',
      '.emacs-project',
    ],
    reason: 'an editor runs it on opening the folder',
  },
  {
    names: [
      'package.json',
      '.npmrc',
      '.yarnrc',
      '.yarnrc.yml',
      '.yarn/',
      '.pnpmfile.cjs',
      '.pnpmfile.mjs',
      'pnpm-workspace.yaml',
      'bunfig.toml',
      'deno.json',
      'deno.jsonc',
      'lerna.json',
    ],
    reason: 'a package manager runs its scripts',
  },
  {
    names: [
      '.cargo/',
      'build.rs',
      'rust-toolchain',
      'rust-toolchain.toml',
      '.mvn/',
      'gradlew',
      'gradlew.bat',
      'gradle/wrapper/',
      'mvnw',
      'mvnw.cmd',
      'settings.gradle',
      'settings.gradle.kts',
      'build.gradle',
      'build.gradle.kts',
      '.bazelrc',
      '.bazelversion',
      'setup.py',
      'setup.cfg',
      'pyproject.toml',
      'conftest.py',
      'sitecustomize.py',
      'usercustomize.py',
      '.pdbrc',
      '.pythonrc',
      '.gdbinit',
      '.lldbinit',
      '.rspec',
      'gemfile',
      '.bundle/',
      '.ruby-version',
      'composer.json',
      '.php.ini',
      '.user.ini',
    ],
    reason: 'a build tool, an interpreter or an editor\u2019s language server runs it',
  },
  {
    names: [
      '.github/',
      '.gitlab-ci.yml',
      '.gitlab/',
      '.circleci/',
      '.buildkite/',
      '.woodpecker/',
      '.woodpecker.yml',
      '.drone.yml',
      '.travis.yml',
      'jenkinsfile',
      'azure-pipelines.yml',
      '.azure-pipelines/',
      'bitbucket-pipelines.yml',
      '.ci/',
      'appveyor.yml',
      '.forgejo/',
      '.gitea/',
      'cloudbuild.yaml',
      'buildspec.yml',
    ],
    reason: 'continuous integration runs it',
  },
  {
    names: [
      'claude.md',
      'claude.local.md',
      'agents.md',
      'agent.md',
      'gemini.md',
      '.claude/',
      '.codex/',
      '.gemini/',
      '.cursor/',
      '.cursorrules',
      '.windsurf/',
      '.windsurfrules',
      '.clinerules',
      '.clinerules/',
      '.continue/',
      '.aider.conf.yml',
      '.mcp.json',
      'mcp.json',
      '.opencode/',
      'opencode.json',
      '.roo/',
      '.kiro/',
      '.glovebox/',
      '.glovebox.yaml',
    ],
    reason: 'agents on this machine obey it',
  },
];

/** Inside a `.git` folder this is data; everything else there is configuration, a hook, or a script (what a rebase will run). */
const gitData =
  /^(objects\/(?!info\/alternates$)|refs\/|logs\/|index$|HEAD$|ORIG_HEAD$|FETCH_HEAD$|packed-refs$|COMMIT_EDITMSG$|description$|shallow$)/;

/** Why a relative path is on the list; null: it is not. */
export function hostExecuted(path: string): string | null {
  const segments = path.split('/');
  const git = segments.findIndex((segment) => segment.toLowerCase() === '.git');
  if (git >= 0) {
    const inside = segments.slice(git + 1).join('/');
    return inside !== '' && gitData.test(inside)
      ? null
      : 'git runs or obeys it: hooks, configuration, where a repository is';
  }
  const folded = `/${path.toLowerCase()}`;
  for (const { names, reason } of hostExecutedTable) {
    for (const name of names) {
      if (
        name.endsWith('/')
          ? folded.includes(`/${name}`) || folded.endsWith(`/${name.slice(0, -1)}`)
          : folded.endsWith(`/${name}`)
      )
        return reason;
    }
  }
  return null;
}
