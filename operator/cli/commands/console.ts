import { connect, withDaemon } from '../connect.ts';
import { print, printJson } from '../output.ts';

/**
 * Opens the door for a browser and prints an address that logs it in. It is printed, and not handed to a browser’s program: what
 * stands in the arguments of a process, every user of the machine can read.
 */
export async function consoleCommand(close: boolean, json: boolean): Promise<number> {
  const connection = connect();
  const { client } = connection;
  if (close) {
    const answer = await client.call('closeBrowser', {});
    if (json) printJson(answer);
    else print(answer.closed ? 'No browser is logged in any more; nothing listens.' : 'The door was closed.');
    return 0;
  }
  const answer = await withDaemon(connection, () => client.call('openBrowser', {}));
  if (json) printJson(answer);
  else print(`${answer.url}\n\nOpen it within a minute, in a browser on this machine. It logs in once.`);
  return 0;
}
