/**
 * The one page that is served to anybody: it is the same for all and tells nothing. The token stands behind the `#`, which no
 * browser sends, no server logs, and which the script takes out of the address before anything else.
 */
export const loginPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<title>Glovebox</title>
<p id="said">Run <code>glovebox console</code> and open the address that it prints.</p>
<script src="/login.js"></script>
</html>
`;

export const loginScript = `'use strict';
const token = location.hash.slice(1);
history.replaceState(null, '', '/');
const say = (text) => { document.getElementById('said').textContent = text; };
if (token !== '') {
  const body = JSON.stringify({ token });
  fetch('/login', { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    .then(async (response) => {
      const answer = await response.json();
      if (!response.ok) return say(answer.error.what + ' ' + answer.error.why);
      sessionStorage.setItem('glovebox-key', answer.key);
      say('Logged in as ' + answer.user + '.');
    })
    .catch(() => say('Glovebox does not answer.'));
}
`;

/** Nothing of another origin is loaded, nobody frames it, and nobody keeps it. */
export const safeHeaders: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
};
