import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { AppError, RpcError, Status, writeFix, type Client, type LineState, type WatchEvent } from 'tracker-client';
import { connect as connectAny, connectTcp, type ConnectOptions } from 'tracker-client/node';
import { Proxy } from './proxy.js';
import { Server, noServer } from './server.js';

const skip = noServer ?? false;
let server: Server;
let admin: Client;

before(async () => {
  if (skip) return;
  server = await Server.start();
  admin = await connect(server.address, { token: server.token });
});
after(async () => {
  // A test that failed has left its client open, which would keep the process.
  await Promise.all([admin?.close(), ...opened.map((c) => c.close())]);
  await server?.remove();
});

const opened: Client[] = [];
async function connect(address: string, o: ConnectOptions = {}): Promise<Client> {
  const c = await connectAny(address, o);
  opened.push(c);
  return c;
}

const backoff = { firstMs: 20, maxMs: 200 };
const both: [string, (o?: ConnectOptions) => Promise<Client>][] = [
  ['TCP', (o) => connect(server.address, { token: server.token, backoff, ...o })],
  ['WebSocket', (o) => connect(server.webSocket, { token: server.token, backoff, ...o })],
];

const failsWith = (status: number) => (e: unknown): boolean => {
  assert.ok(e instanceof RpcError, String(e));
  assert.equal(e.statusName, new RpcError(status).statusName, e.message);
  return true;
};

let names = 0;
async function enrol(client: Client): Promise<string> {
  const name = `car ${++names}`;
  await client.devices.enroll({ devices: [{ name }] });
  return name;
}

const report = (client: Client, device: string, n: number, from = Date.now() - n): Promise<unknown> =>
  client.publish.report({ device, fixes: Array.from({ length: n }, (_, i) => writeFix({ time: from + i, lat: 52 + i / 1000, lon: 13 })) });

async function take<T>(it: AsyncIterator<T, unknown>): Promise<T> {
  const r = await it.next();
  assert.ok(!r.done, 'it ended');
  return r.value;
}

async function expect<K extends WatchEvent['kind']>(it: AsyncIterator<WatchEvent, unknown>, kind: K): Promise<Extract<WatchEvent, { kind: K }>> {
  const e = await take(it);
  assert.equal(e.kind, kind, JSON.stringify(e));
  return e as Extract<WatchEvent, { kind: K }>;
}

for (const [way, open] of both) {
  test(`10,000 calls in flight are answered, each with its own sum, over ${way}`, { skip }, async () => {
    const c = await open();
    const sums = await Promise.all(Array.from({ length: 10_000 }, (_, i) => c.example.asyncSum({ a: i, b: 2 * i })));
    sums.forEach((s, i) => assert.equal(s.sum, 3 * i));
    await c.close();
  });

  test(`a call that sleeps holds no other up over ${way}`, { skip }, async () => {
    const c = await open();
    let slow = 0;
    const sleeping = Promise.all(Array.from({ length: 50 }, () => c.example.sleep({ ms: 200, a: 1 }).finally(() => slow++)));
    for (let i = 0; i < 20; i++) await c.example.sum({ a: i, b: i });
    assert.equal(slow, 0);
    await sleeping;
    await c.close();
  });

  test(`cancelling and timeouts free the place of a call over ${way}`, { skip }, async () => {
    const c = await open();
    const stop = new AbortController();
    const calls = Array.from({ length: 500 }, () => c.example.sleep({ ms: 1000 }, { signal: stop.signal }));
    stop.abort();
    for (const r of await Promise.allSettled(calls)) failsWith(Status.Canceled)((r as PromiseRejectedResult).reason);
    await assert.rejects(c.example.sleep({ ms: 1000 }, { timeoutMs: 20 }), failsWith(Status.DeadlineExceeded));
    assert.equal((await c.example.sum({ a: 1, b: 2 })).sum, 3);
    await c.close();
  });

  test(`a mebibyte echoes over ${way}, beside other calls`, { skip }, async () => {
    const c = await open();
    const payload = Uint8Array.from({ length: 1 << 20 }, (_, i) => i * 7);
    const [echo, sum] = await Promise.all([c.example.echo({ payload }), c.example.sum({ a: 1, b: 2 })]);
    assert.ok(Buffer.from(echo.payload).equals(payload));
    assert.equal(sum.sum, 3);
    await assert.rejects(c.example.echo({ payload: new Uint8Array(5 << 20) }), failsWith(Status.FrameTooLarge));
    const many = await Promise.all(Array.from({ length: 12 }, () => c.example.echo({ payload })));
    assert.ok(many.every((m) => m.payload.length === payload.length));
    await c.close();
  });

  test(`who reads slowly is told of each key the newest, and how much was skipped, over ${way}`, { skip }, async () => {
    const c = await open();
    const topic = `slow ${way}`;
    const sub = await c.example.sub({ topic }, { window: 4 });
    assert.equal(sub.answer.subscribers, 1);
    assert.deepEqual(await admin.example.pub({ topic, key: 1, value: 0, count: 1000 }), { subscribers: 1, published: 1000 });
    const values: number[] = [];
    let seq = 0n;
    for await (const { value, skipped, seq: at } of sub) {
      assert.equal(at, seq + BigInt(skipped) + 1n);
      seq = at;
      values.push(value.value);
      if (seq === 1000n) break;
    }
    assert.deepEqual(values.slice(0, 4), [0, 1, 2, 3]);
    assert.equal(values.at(-1), 999);
    assert.equal(sub.skipped, 1000 - values.length);
    await c.close();
  });

  test(`a watch begins with the present, tells what moves, and moves over ${way}`, { skip }, async () => {
    const c = await open();
    const [here, there] = [await enrol(admin), await enrol(admin)];
    await report(admin, here, 1);
    const watch = c.watchAll({ devices: [here] });
    const it = watch[Symbol.asyncIterator]();
    const first = await expect(it, 'snapshot');
    assert.deepEqual([first.first, first.more, first.fixes.map((f) => f.name)], [true, false, [here]]);
    await report(admin, here, 2);
    const seen: number[] = [];
    while (seen.length < 2) for (const f of (await expect(it, 'fixes')).fixes) seen.push(f.lat!);
    assert.deepEqual(seen, [52, 52.001]);

    await report(admin, there, 1);
    await watch.move({ devices: [there] });
    const second = await expect(it, 'snapshot');
    assert.deepEqual(second.fixes.map((f) => f.name), [there]);
    await assert.rejects(watch.move({ devices: ['unicorn'] }), failsWith(Status.NotFound));
    await report(admin, here, 1);
    await report(admin, there, 1);
    assert.deepEqual((await expect(it, 'fixes')).fixes.map((f) => f.name), [there]);
    await watch.move({ box: { south: 51, west: 12, north: 53, east: 14 } });
    await expect(it, 'snapshot');
    watch.close();
    assert.equal((await it.next()).done, true);
    await c.close();
  });

  test(`the past comes as fast as it is taken over ${way}`, { skip }, async () => {
    const c = await open();
    const car = await enrol(admin);
    const from = Date.now() - 50_000;
    for (let i = 0; i < 12; i++) await report(admin, car, 400, from + 400 * i);
    const past = await c.positions.history({ device: car }, { window: 1 });
    let n = 0;
    for await (const { value, skipped } of past) {
      assert.equal(skipped, 0);
      for (const f of value.fixes) assert.equal(f.time, from + n++);
    }
    assert.equal(n, 4800);
    for await (const { value } of await c.positions.history({ device: car })) {
      assert.ok(value.fixes.length > 0);
      break; // the server stops, too
    }
    assert.equal((await c.example.sum({ a: 2, b: 2 })).sum, 4);
    await c.close();
  });

  test(`a token that is none is refused at once over ${way}`, { skip }, async () => {
    await assert.rejects(open({ token: 'none' }), failsWith(Status.Unauthenticated));
  });

  test(`a token that ends takes its client along over ${way}`, { skip }, async () => {
    const made = await admin.tokens.create({ name: 'short', role: 'viewer' });
    const states: LineState[] = [];
    const c = await open({ token: made.secret, onState: (s) => states.push(s) });
    const watch = c.watchAll({ all: true })[Symbol.asyncIterator]();
    await expect(watch, 'snapshot');
    await admin.tokens.revoke({ id: made.token!.id });
    await assert.rejects(async () => {
      for (;;) await take(watch);
    }, failsWith(Status.Unauthenticated));
    await assert.rejects(c.example.sum({ a: 1 }), failsWith(Status.Unauthenticated));
    assert.equal(states.at(-1)?.state, 'closed');
    await c.close();
  });

  test(`more watches than a connection may have are refused over ${way}`, { skip }, async () => {
    const c = await open();
    const subs = [];
    for (;;) {
      try {
        subs.push(await c.watch.open({ area: { all: true } }));
        assert.ok(subs.length < 1000);
      } catch (e) {
        failsWith(AppError.TooManyWatches)(e);
        break;
      }
    }
    for (const s of subs) s.close();
    await c.close();
  });
}

test('a client goes on with another token, now and later', { skip }, async (t) => {
  const proxy = await Proxy.start(server.address);
  t.after(() => proxy.close());
  const [one, two] = [await admin.tokens.create({ name: 'one', role: 'viewer' }), await admin.tokens.create({ name: 'two', role: 'viewer' })];
  const c = await connect(proxy.address, { token: one.secret, backoff });
  assert.equal((await c.useToken(two.secret)).name, 'two');
  await admin.tokens.revoke({ id: one.token!.id });
  assert.equal((await c.session.info()).name, 'two');
  proxy.cut();
  proxy.mend();
  assert.equal((await c.session.info()).name, 'two');
  await c.close();
});

test('a token may be asked for, each time', { skip }, async (t) => {
  const proxy = await Proxy.start(server.address);
  t.after(() => proxy.close());
  const one = await admin.tokens.create({ name: 'asked for', role: 'viewer' });
  const tokens = [one.secret, server.token];
  let lost = (): void => undefined;
  const onState = (s: LineState): void => (s.state === 'disconnected' ? lost() : undefined);
  const c = await connect(proxy.address, { token: () => Promise.resolve(tokens.shift() ?? 'none'), backoff, onState });
  assert.equal((await c.session.info()).role, 'viewer');
  const away = new Promise<void>((resolve) => (lost = resolve));
  await admin.tokens.revoke({ id: one.token!.id });
  await away;
  assert.equal((await c.session.info()).role, 'admin');
  await c.close();
});

test('a line that breaks is mended, and a watch goes on where it was', { skip }, async (t) => {
  const proxy = await Proxy.start(server.address);
  t.after(() => proxy.close());
  const car = await enrol(admin);
  await report(admin, car, 1);
  const states: string[] = [];
  const c = await connect(proxy.address, { token: server.token, backoff, onState: (s) => states.push(s.state) });
  const watch = c.watchAll({ devices: [car] });
  const it = watch[Symbol.asyncIterator]();
  await expect(it, 'snapshot');
  const calls = Promise.all(Array.from({ length: 100 }, (_, i) => c.example.sleep({ ms: 50, a: i })));
  proxy.cut();
  assert.equal((await expect(it, 'disconnected')).error.status, Status.Unavailable);
  await report(admin, car, 3); // while nobody is there
  proxy.mend();
  await expect(it, 'resumed');
  let n = 0;
  while (n < 3) n += (await expect(it, 'fixes')).fixes.length;
  assert.equal(n, 3);
  assert.deepEqual((await calls).map((s) => s.sum), Array.from({ length: 100 }, (_, i) => i)); // made once more
  assert.deepEqual([states[0], states[1], states.at(-1)], ['connected', 'disconnected', 'connected']);
  await c.close();
  assert.equal((await it.next()).done, true);
});

test('what may have run and may not run twice is not made again', { skip }, async (t) => {
  const proxy = await Proxy.start(server.address);
  t.after(() => proxy.close());
  const c = await connect(proxy.address, { token: server.token, backoff });
  const call = c.example.pub({ topic: 'once', count: 100_000 });
  await new Promise(setImmediate); // it has left
  proxy.cut();
  await assert.rejects(call, (e) => failsWith(Status.Unavailable)(e) && !(e as RpcError).notRun);
  await assert.rejects(c.example.sum({ a: 1 }, { timeoutMs: 30 }), (e) => failsWith(Status.Unavailable)(e) && (e as RpcError).notRun);
  const late = c.example.sum({ a: 1, b: 1 });
  proxy.mend();
  assert.equal((await late).sum, 2); // it waited
  await c.close();
});

for (const [signal, says] of [['SIGTERM', 'stops'], ['SIGKILL', 'is killed']] as const) {
  test(`when the server ${says} and comes again, calls and watches go on`, { skip }, async (t) => {
    const own = await Server.start();
    t.after(() => own.remove());
    const c = await connect(own.address, { token: own.token, backoff });
    t.after(() => c.close());
    const car = await enrol(c);
    await report(c, car, 2);
    const it = c.watchAll({ all: true })[Symbol.asyncIterator]();
    assert.equal((await expect(it, 'snapshot')).fixes.length, 1);
    await own.stop(signal);
    await expect(it, 'disconnected');
    const waits = c.example.sum({ a: 20, b: 22 });
    await own.again();
    assert.equal((await waits).sum, 42);
    let e = await take(it);
    while (e.kind === 'disconnected') e = await take(it);
    assert.equal(e.kind, 'snapshot'); // another epoch: what was known is void
    await report(c, car, 1);
    while (e.kind !== 'fixes') e = await take(it);
    assert.deepEqual(e.fixes.map((f) => f.name), [car]);
    const ended = it.next();
    await c.close();
    assert.equal((await ended).done, true);
  });
}

test('a signal ends a client, a watch, and the attempt to connect', { skip }, async () => {
  const stop = new AbortController();
  const c = await connect(server.address, { token: server.token, signal: stop.signal });
  const one = new AbortController();
  const watch = c.watchAll({ all: true }, { signal: one.signal })[Symbol.asyncIterator]();
  await expect(watch, 'snapshot');
  const next = watch.next();
  one.abort();
  await assert.rejects(next, failsWith(Status.Canceled));
  assert.equal((await c.example.sum({ a: 1, b: 1 })).sum, 2);
  stop.abort();
  await assert.rejects(c.example.sum({ a: 1 }), failsWith(Status.Canceled));
  await c.close();
  await assert.rejects(connect(server.address, { signal: AbortSignal.abort() }), failsWith(Status.Canceled));
});

test('who answers must be who is meant', { skip }, async () => {
  const token = server.token;
  const wrong = `sha256:${'0'.repeat(64)}`;
  await assert.rejects(connect(`tls://${server.address}`, { token }), (e) => failsWith(Status.Unauthenticated)(e) && (e as RpcError).message.includes(server.fingerprint));
  await assert.rejects(connect(server.address, { token, tls: { fingerprint: wrong } }), (e) => failsWith(Status.Unauthenticated)(e) && (e as RpcError).reason === 'untrusted');
  await assert.rejects(connect(server.address, { token, tls: { fingerprint: 'nonsense' } }), failsWith(Status.InvalidArgument));
  const c = await connectTcp(server.address, { token, tls: { fingerprint: server.fingerprint } });
  assert.equal((await c.session.info()).role, 'admin');
  await c.close();
});

test('an address where nobody listens is said to be so', async () => {
  const proxy = await Proxy.start('127.0.0.1:1');
  const { address } = proxy;
  await proxy.close();
  for (const a of [address, `ws://${address}`]) await assert.rejects(connect(a, { token: 'x' }), failsWith(Status.Unavailable));
  for (const a of ['nowhere', 'http://127.0.0.1:1', 'ws://', '127.0.0.1:99999']) await assert.rejects(connect(a), failsWith(Status.InvalidArgument));
});
