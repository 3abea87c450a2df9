export type { ConsentStore, Grant, GrantStore } from './consents.ts';
export type { SessionFindings, SessionOrigin, SessionRecord, SessionStore } from './sessions.ts';
export { openSqliteStore } from './sqlite/open-sqlite.ts';
export { lockState, type StateLock } from './sqlite/state-lock.ts';
export { openStateFolder, refuseLoose, stateVersion, type StateFolder } from './state-folder.ts';
export type { Store } from './store.ts';
export type { Waiver, WaiverStore } from './waivers.ts';
