/** Whether version `have` is at least `need`, both dotted numbers. @param {string} have @param {string} need */
export function atLeast(have, need) {
  const left = have.split('.').map(Number);
  const right = need.split('.').map(Number);
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** `runsc --version`: "runsc version release-20260518.0". A build without a release says nothing that can be compared.
 * @param {string} output */
export function runscVersion(output) {
  return /^runsc version release-(\d{8}(?:\.\d+)*)/m.exec(output)?.[1];
}

/** `nats-server --version`: "nats-server: v2.15.2". @param {string} output */
export function natsVersion(output) {
  return /^nats-server: v(\d+\.\d+\.\d+)\s*$/m.exec(output)?.[1];
}

/** `go version`: "go version go1.26.8 linux/amd64". @param {string} output */
export function goVersion(output) {
  return /\bgo(\d+\.\d+(?:\.\d+)?)/.exec(output)?.[1];
}

/** The version that a go.mod pins for a module, without a pseudo-version's leading zeros.
 * @param {string} goMod @param {string} module */
export function pinned(goMod, module) {
  const escaped = module.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const found = new RegExp(`^\\s*(?:require\\s+)?${escaped} v(\\S+)`, 'm').exec(goMod)?.[1];
  return found?.replace(/^0\.0\.0-/, '');
}
