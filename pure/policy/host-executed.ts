/**
 * What tools on a person's machine execute or obey without being asked, once it lies in a folder (R48): staged changes to these
 * are asked for by name at apply, direct mode mounts them read-only. Names are compared without case: some file systems do.
 */
export interface HostExecuted {
  readonly names: readonly string[];
  readonly reason: string;
}

/**
 * A name with a slash at its end is a folder, with all below it; one with a slash inside is a path's end; one that begins or
 * ends with a star is the end or the beginning of a name.
 */
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
      '.nvmrc',
      '.node-version',
      '.python-version',
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
      '*.code-workspace',
      '*.sublime-project',
      '*.code-profile',
      '.nvim.lua',
      '.nvimrc',
      '.exrc',
      '.vimrc',
      '.lvimrc',
      '.vim/',
      '.dir-locals.el',
      '.dir-locals-2.el',
      '.projectile',
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
      'binding.gyp',
      'package-lock.json',
      'npm-shrinkwrap.json',
      'yarn.lock',
      'pnpm-lock.yaml',
    ],
    reason: 'a package manager runs its scripts, or installs and runs what it names',
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
      '.irbrc',
      '.pryrc',
      '.rubocop.yml',
      '.pylintrc',
      'mypy.ini',
      '.flake8',
      'pyrightconfig.json',
      '*.csproj',
      '*.fsproj',
      '*.vbproj',
      '*.vcxproj',
      '*.sln',
      '*.props',
      '*.targets',
      '*.xcodeproj/',
      '.clangd',
      'rust-analyzer.toml',
      '.rust-analyzer.toml',
    ],
    reason: 'a build tool, an interpreter or an editor\u2019s language server runs it',
  },
  {
    names: [
      'eslint.config.*',
      '.eslintrc.*',
      'prettier.config.*',
      '.prettierrc.*',
      'stylelint.config.*',
      '.stylelintrc.*',
      'tailwind.config.*',
      'postcss.config.*',
      '.postcssrc.*',
      'jest.config.*',
      'vitest.config.*',
      'vite.config.*',
      'playwright.config.*',
      '.mocharc.*',
      'babel.config.*',
      '.babelrc.*',
      'svelte.config.*',
      'nuxt.config.*',
      'astro.config.*',
    ],
    reason: 'an editor\u2019s extension runs it on opening the folder',
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
  const last = folded.slice(folded.lastIndexOf('/') + 1);
  for (const { names, reason } of hostExecutedTable) {
    for (const name of names) {
      if (name.endsWith('*') && last.startsWith(name.slice(0, -1))) return reason;
      const own = name.startsWith('*') ? name.slice(1) : `/${name}`;
      if (
        own.endsWith('/') ? folded.includes(own) || folded.endsWith(own.slice(0, -1)) : folded.endsWith(own)
      )
        return reason;
    }
  }
  return null;
}
