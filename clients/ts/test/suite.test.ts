import assert from 'node:assert/strict';
import test from 'node:test';
import { methods } from 'tracker-client';
import { connect } from 'tracker-client/node';
import { Server, noServer } from './server.js';
import { Memory, Runner, suite, type Asked, type Case } from './suite.js';

const ways: [string, (s: Server) => [string, object]][] = [
  ['TCP', (s) => [s.address, {}]],
  ['TLS', (s) => [`tls://${s.address}`, { tls: { fingerprint: s.fingerprint } }]],
  ['WebSocket', (s) => [s.webSocket, {}]],
];
for (const [name, way] of ways) {
  test(`every method does over ${name} what all clients expect`, { skip: noServer ?? false }, async (t) => {
    const server = await Server.start();
    t.after(() => server.remove());
    const [address, o] = way(server);
    const open = async (token: string): Promise<Asked> => {
      const c = await connect(address, { ...o, token, name: 'suite' });
      return { services: c, close: () => c.close() };
    };
    const admin = await open(server.token);
    t.after(() => admin.close());
    const memory = new Memory();
    memory.saved.set('token', server.token);
    const runner = new Runner(admin, open, memory);
    for (const c of suite.cases) {
      await t.test(c.name, () => runner.run(c));
    }
  });
}

test('the list of cases knows every method', () => {
  const seen = new Set<string>();
  const walk = (cases: Case[]): void => cases.forEach((c) => (seen.add(c.method), walk(c.during ?? [])));
  walk(suite.cases);
  assert.deepEqual(Object.keys(methods).filter((m) => !seen.has(m)), []);
});
