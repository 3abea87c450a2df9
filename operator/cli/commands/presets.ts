import { connect, withDaemon } from '../connect.ts';
import { printJson, table } from '../output.ts';

export async function presets(json: boolean): Promise<number> {
  const connection = connect();
  const found = await withDaemon(connection, async () => await connection.client.call('presets', {}));
  if (json) printJson(found);
  else
    process.stdout.write(
      table(
        ['NAME', 'WHAT IT IS'],
        found.map(({ name, title }) => [name, title]),
        50,
      ),
    );
  return 0;
}
