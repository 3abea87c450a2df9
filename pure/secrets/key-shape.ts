/** What looks like a credential: `--env` would put it where the agent can read it, which no guarantee survives (R27). */
const knownShapes: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/, 'a private key'],
  [/\bsk-[A-Za-z0-9_-]{8,}/, 'an API key (sk-…)'],
  [/\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}/, 'a GitHub token'],
  [/\bglpat-[A-Za-z0-9_-]{12,}/, 'a GitLab token'],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{12,}/, 'an AWS access key'],
  [/\bxox[abeoprs]-[A-Za-z0-9-]{8,}/, 'a Slack token'],
  [/\bAIza[A-Za-z0-9_-]{30,}/, 'a Google API key'],
  [/\bya29\.[A-Za-z0-9_-]{16,}/, 'a Google access token'],
  [/\bnpm_[A-Za-z0-9]{20,}/, 'an npm token'],
  [/\bhf_[A-Za-z0-9]{20,}/, 'a Hugging Face token'],
  [/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*/, 'a JSON Web Token'],
  [/:\/\/[^/\s:@]+:[^/\s@]+@/, 'a URL with a password in it'],
];

const namedForKeys = /KEY|TOKEN|SECRET|PASSW|CREDENTIAL|(?:^|_)(?:PAT|PWD|AUTH)(?:$|_)/i;
const keyLength = 20;
/** Bits a character. English words have about 3, hexadecimal keys at least 3.3 from 20 characters on. */
const keyEntropy = 3;

function entropy(text: string): number {
  const counts = new Map<string, number>();
  for (const char of text) counts.set(char, (counts.get(char) ?? 0) + 1);
  const total = [...text].length;
  return [...counts.values()].reduce((sum, count) => sum - (count / total) * Math.log2(count / total), 0);
}

/** What the value looks like, in words, or null. The words never hold the value. */
export function looksLikeKey(name: string, value: string): string | null {
  for (const [shape, what] of knownShapes) if (shape.test(value)) return what;
  const dense = value.length >= keyLength && !/\s/.test(value) && entropy(value) >= keyEntropy;
  return dense && namedForKeys.test(name) ? 'a key (its name says so, and it is long and random)' : null;
}
