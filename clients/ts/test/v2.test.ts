import assert from 'node:assert/strict';
import test from 'node:test';
import { RpcError, Status, methods, schemaHash } from 'tracker-client';
import { connect } from 'tracker-client/node';
import * as v2 from './gen-v2/services.js';
import { LaterServer, Server, noServer } from './server.js';
import { Memory, Runner, suite } from './suite.js';

test('bindings of a newer schema get on with a server of this one', { skip: noServer ?? false }, async (t) => {
  assert.notEqual(v2.schemaHash, schemaHash);
  const server = await Server.start();
  t.after(() => server.remove());
  const client = await connect(server.address, { token: server.token });
  t.after(() => client.close());
  const services = new v2.Services(client.caller);
  const asked = { services, close: () => Promise.resolve() };
  const runner = new Runner(asked, () => Promise.reject(new Error('one connection is enough')), new Memory());
  for (const c of suite.cases.filter((c) => c.method.startsWith('Example.') && c.as === undefined)) {
    await t.test(c.name, () => runner.run(c));
  }
  await t.test('fields that the server does not know are passed over', async () => {
    const sum = await services.example.sum({ a: 1, b: 2, c: 1000, label: 'new', weights: [1, 2] });
    assert.equal(sum.sum, 3);
  });
  await t.test('methods that it does not know are said to be unknown', async () => {
    const unknown = (e: unknown): boolean => e instanceof RpcError && e.status === Status.Unimplemented && e.notRun;
    await assert.rejects(services.example.product({}), unknown);
    await assert.rejects(services.owners.list({}), unknown);
  });
  await t.test('what it sends is read with what is new left empty', async () => {
    const before = await client.status.get();
    const after = await services.status.get();
    assert.equal(after.version, before.version);
    const empty = await services.devices.list();
    assert.deepEqual(empty.devices, []);
  });
});

test('a server of a newer schema gets on with the bindings of this one', { skip: noServer ?? false }, async (t) => {
  const server = await LaterServer.start();
  t.after(() => server.stop());
  const client = await connect(server.address, { token: 'any' });
  t.after(() => client.close());
  const { example } = client;
  assert.deepEqual(await example.sum({ a: 1, b: 2 }), { sum: 3 });
  assert.deepEqual(await example.asyncSum({ a: -1, b: -2 }), { sum: -3 });
  assert.deepEqual(await example.sleep({ ms: 1, a: 2 ** 31 - 1, b: 1 }), { sum: -(2 ** 31) });
  assert.deepEqual((await example.echo({ payload: new Uint8Array([1, 2, 3]) })).payload, new Uint8Array([1, 2, 3]));
  assert.equal((await example.pub({ topic: 'news', count: 9 })).published, 9);
  const sub = await example.sub({ topic: 'four' });
  assert.deepEqual(sub.answer, { subscribers: 4 });
  const values: number[] = [];
  for await (const { value } of sub) values.push(value.value);
  assert.deepEqual(values, [0, 1, 2, 3, 4]);
  await assert.rejects(client.status.get(), (e: unknown) => e instanceof RpcError && e.status === Status.Unimplemented);
});

test('no method changed its number', () => {
  for (const [name, m] of Object.entries(methods)) assert.equal(v2.methods[name]?.id, m.id, name);
});
