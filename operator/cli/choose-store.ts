import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { GloveboxError, parseStoreUrl, storeSetting, storeSettingFile } from '../../pure/contracts/index.ts';
import type { Places } from './places.ts';

/**
 * Writes down in the state folder where its store is; every later start reads it there. Only for a state that has no store yet:
 * another store would know nothing of what was spent, granted and revoked in the first.
 */
export function chooseStore(
  places: Places,
  url: string,
  passwordFile: string | undefined,
  up: boolean,
): void {
  parseStoreUrl(url);
  const setting = storeSetting.parse({
    version: 1,
    url,
    passwordFile: passwordFile === undefined ? null : absolute(passwordFile),
  });
  const file = join(places.state, storeSettingFile);
  const text = `${JSON.stringify(setting, null, 2)}\n`;
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  const owned = existsSync(file)
    ? `${file} names another one`
    : existsSync(join(places.state, 'control-plane.db'))
      ? `${places.state} has one already (SQLite)`
      : up
        ? 'Glovebox is running with its own'
        : undefined;
  if (owned !== undefined) {
    const detail = `${owned}; what is in a store is not moved. Begin with a fresh state folder (XDG_STATE_HOME)`;
    throw new GloveboxError('GB_INPUT_INVALID', { what: '--store', detail });
  }
  mkdirSync(places.state, { recursive: true, mode: 0o700 });
  writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
}

const absolute = (path: string): string => (isAbsolute(path) ? path : resolve(path));
