import { expect, it } from 'vitest';
import { z } from 'zod';
import type { Route } from '../../../pure/contracts/index.ts';
import { RequestRate } from '../../workload-http/index.ts';
import type { OperatorHandlers } from './handlers.ts';
import { personAtSocket } from './operator-socket.ts';
import { operatorServer } from './server.ts';

it('[R3] serves a person what the registry lets a person call, and nothing else, whatever it is given to serve', async () => {
  const ran: string[] = [];
  const route = (callers: Route['callers'], path: Route['path']): Route => ({
    method: 'GET',
    path,
    callers,
    owner: 'none',
    response: z.object({}),
  });
  const answer = (name: string) => async () => {
    ran.push(name);
    return {};
  };
  const app = await operatorServer({
    handlers: { people: answer('people'), sidecars: answer('sidecars') } as unknown as OperatorHandlers,
    routes: { people: route(['operator'], '/people'), sidecars: route(['sidecar'], '/sidecars') },
    findSession: () => Promise.reject(new Error('not in this test')),
    caller: personAtSocket(),
    version: '0',
    rate: new RequestRate('operatorRate', 100, () => 0),
    onError: () => undefined,
  });
  expect((await app.inject('/people')).statusCode).toBe(200);
  const refused = await app.inject('/sidecars');
  expect([refused.statusCode, refused.json<{ error: { code: string } }>().error.code]).toEqual([
    403,
    'GB_CALLER_REFUSED',
  ]);
  expect(ran).toEqual(['people']);
  await app.close();
});
