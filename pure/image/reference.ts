import { GloveboxError } from '../contracts/index.ts';

/** What a person calls an image, in its parts. `repository` has its registry, if one was named. */
export interface ImageReference {
  readonly repository: string;
  readonly tag: string | null;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string | null;
}

const host = '[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?';
const part = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const form = new RegExp(
  `^((?:${host}/)?${part}(?:/${part})*)(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`,
);

/** Reads `[REGISTRY/]NAME[:TAG][@sha256:…]`; the grammar of the distribution specification, sha256 only. */
export function parseImageReference(text: string): ImageReference {
  const found = text.length <= 512 ? form.exec(text) : null;
  const [, repository, tag, digest] = found ?? [];
  if (repository === undefined)
    throw new GloveboxError('GB_INPUT_INVALID', {
      what: `The image ${text.slice(0, 200)}`,
      detail: 'an image is [REGISTRY/]NAME[:TAG][@sha256:DIGEST], its name in lower case',
    });
  return { repository, tag: tag ?? null, digest: digest ?? null };
}

export const imageDigest = /^sha256:[0-9a-f]{64}$/;
