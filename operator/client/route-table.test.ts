import { expect, test } from 'vitest';
import { operatorRoutes } from '../../pure/contracts/index.ts';
import { routePath } from './operator-client.ts';
import { routeTable } from './route-table.ts';

test('the table is the registry without its schemas', () => {
  const registry = Object.entries(operatorRoutes).map(([name, { method, path }]) => [name, { method, path }]);
  expect(routeTable).toEqual(Object.fromEntries(registry));
});

test('an id cannot leave its place in the path', () => {
  expect(routePath('stopSession', { params: { id: '../x?y#z' } })).toBe('/v1/sessions/..%2Fx%3Fy%23z/stop');
  expect(routePath('events', { query: { session: undefined } })).toBe('/v1/events');
  expect(routePath('audit', { query: { session: 'a b', limit: 3 } })).toBe('/v1/audit?session=a+b&limit=3');
});
