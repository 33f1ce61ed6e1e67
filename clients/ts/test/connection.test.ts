import assert from 'node:assert/strict';
import test from 'node:test';
import { Connection, type ConnectionConfig } from '#dist/connection.js';
import { Kind, flagMeta, flagMore, noTimeout, type Frame } from '#dist/frame.js';
import { AuthKind, RpcError, Status } from 'tracker-client';
import { mulberry } from './root.js';
import { FakePeer, errorBody, eventBody, nothing, readU32, stream, text, u32, unary, type Limits } from './fake.js';

const config: ConnectionConfig = {
  auth: { kind: AuthKind.Bearer, bytes: text('secret') }, client: 'test', schemaHash: 1n, timeoutMs: 30_000,
  connectTimeoutMs: 5_000, window: 8, maxFrame: 1 << 16, maxReply: 1 << 20,
};

async function connect(limits: Partial<Limits> = {}, cfg: Partial<ConnectionConfig> = {}): Promise<[Connection, FakePeer]> {
  const peer = new FakePeer(limits);
  return [await Connection.open(peer.transport, { ...config, ...cfg }), peer];
}

const hasStatus = (status: number, notRun?: boolean) => (e: unknown): boolean => {
  assert.ok(e instanceof RpcError, String(e));
  assert.equal(e.statusName, new RpcError(status).statusName, e.message);
  if (notRun !== undefined) assert.equal(e.notRun, notRun, e.message);
  return true;
};

/** Answers a request with its own body. */
const echo = (peer: FakePeer) => (f: Frame): void => {
  if (f.kind === Kind.Req) peer.send(Kind.Rsp, f.id, 0, 0, f.body);
};

test('the handshake shows the token, and says what holds', async () => {
  const [c, peer] = await connect({ maxInflight: 3 });
  assert.equal(c.welcome.maxInflight, 3);
  const hello = peer.of(Kind.Hello)[0]!;
  assert.ok(Buffer.from(hello.body).includes('secret'));
  await c.close();
  assert.ok(peer.closed);
});

test('a server that refuses says why', async () => {
  const peer = new FakePeer();
  peer.send = () => undefined;
  peer.answer = () => {
    peer.answer = () => undefined;
    FakePeer.prototype.goAway.call({ send: FakePeer.prototype.send.bind(peer) }, 0, Status.Unauthenticated, errorBody(true, 'unknown_token', 'no such token'));
  };
  await assert.rejects(Connection.open(peer.transport, config), (e) => {
    hasStatus(Status.Unauthenticated, true)(e);
    assert.equal((e as RpcError).reason, 'unknown_token');
    return true;
  });
});

test('a server that says nothing is left in time, and when the caller wants', async () => {
  const silent = (): FakePeer => {
    const peer = new FakePeer();
    peer.send = () => undefined;
    return peer;
  };
  await assert.rejects(Connection.open(silent().transport, { ...config, connectTimeoutMs: 10 }), hasStatus(Status.DeadlineExceeded));
  const stop = new AbortController();
  const opening = Connection.open(silent().transport, config, stop.signal);
  stop.abort();
  await assert.rejects(opening, hasStatus(Status.Canceled));
});

test('calls of one turn travel together and are answered in any order', async () => {
  const [c, peer] = await connect();
  let sends = 0;
  const send = peer.transport.send.bind(peer.transport);
  peer.transport.send = (b, cuts) => (sends++, send(b, cuts));
  const answers = Promise.all([1, 2, 3].map((n) => c.call(unary, u32(n))));
  const reqs = await peer.until(Kind.Req, 3);
  assert.equal(sends, 1);
  assert.deepEqual(reqs.map((f) => [f.id, f.code, f.aux]), [[1, 0x0101, 30_000], [2, 0x0101, 30_000], [3, 0x0101, 30_000]]);
  for (const f of [...reqs].reverse()) peer.send(Kind.Rsp, f.id, 0, 0, f.body);
  assert.deepEqual((await answers).map(readU32), [1, 2, 3]);
  await c.close();
});

test('an error comes with all that the server said', async () => {
  const [c, peer] = await connect();
  peer.answer = (f) => {
    if (f.kind === Kind.Req) peer.send(Kind.Err, f.id, Status.NotFound, 0, errorBody(true, 'not_found', 'no such device', 1500));
  };
  await assert.rejects(c.call(unary, nothing), (e) => {
    assert.ok(e instanceof RpcError);
    assert.deepEqual([e.status, e.reason, e.message, e.retryAfterMs, e.notRun], [Status.NotFound, 'not_found', 'not found: no such device', 1500, true]);
    return true;
  });
  await c.close();
});

test('after a timeout the id stays in use until the server has answered', async () => {
  const [c, peer] = await connect({ maxInflight: 1 });
  await assert.rejects(c.call(unary, nothing, { timeoutMs: 5 }), hasStatus(Status.DeadlineExceeded, false));
  const [cancel] = await peer.until(Kind.Cancel, 1);
  assert.equal(cancel!.id, 1);
  const next = c.call(unary, text('next'));
  await assert.rejects(c.call(unary, nothing, { timeoutMs: 5 }), hasStatus(Status.DeadlineExceeded, true));
  assert.equal(peer.of(Kind.Req).length, 1); // the server still holds the only place
  peer.send(Kind.Err, 1, Status.Canceled);
  const reqs = await peer.until(Kind.Req, 2);
  assert.equal(reqs[1]!.id, 2);
  peer.send(Kind.Rsp, 2, 0, 0, text('ok'));
  assert.equal(Buffer.from(await next).toString(), 'ok');
  await c.close();
});

test('a timeout longer than the header can say is kept on this side alone', async () => {
  const [c, peer] = await connect();
  const call = c.call(unary, nothing, { timeoutMs: 100_000 });
  const [req] = await peer.until(Kind.Req, 1);
  assert.equal(req!.aux, noTimeout);
  peer.send(Kind.Rsp, 1, 0, 0, text('x'));
  await call;
  for (const timeoutMs of [0, -1, NaN, Infinity]) {
    await assert.rejects(c.call(unary, nothing, { timeoutMs }), hasStatus(Status.InvalidArgument, true));
  }
  await c.close();
});

test('a signal cancels a call, whatever became of it', async () => {
  const [c, peer] = await connect({ maxInflight: 1 });
  const stop = new AbortController();
  const sent = c.call(unary, nothing, { signal: stop.signal });
  const waiting = c.call(unary, nothing, { signal: stop.signal });
  await peer.until(Kind.Req, 1);
  stop.abort('enough');
  await assert.rejects(sent, (e) => hasStatus(Status.Canceled, false)(e) && (e as RpcError).cause === 'enough');
  await assert.rejects(waiting, hasStatus(Status.Canceled, true));
  await assert.rejects(c.call(unary, nothing, { signal: stop.signal }), hasStatus(Status.Canceled, true));
  await assert.rejects(c.call(unary, nothing, { signal: AbortSignal.timeout(5) }), hasStatus(Status.DeadlineExceeded, true));
  await peer.until(Kind.Cancel, 1);
  assert.equal(peer.of(Kind.Req).length, 1);
  await c.close();
});

test('ids wrap and skip those in use', async () => {
  const [c, peer] = await connect();
  const open = c.call(unary, text('open'));
  (c as unknown as { nextId: number }).nextId = 0xfffffffe;
  const two = Promise.all([c.call(unary, text('a')), c.call(unary, text('b'))]);
  const reqs = await peer.until(Kind.Req, 3);
  assert.deepEqual(reqs.map((f) => f.id), [1, 0xffffffff, 2]);
  for (const f of reqs) peer.send(Kind.Rsp, f.id, 0, 0, f.body);
  await Promise.all([open, two]);
  await c.close();
});

test('callers wait for room in their order, by count and by bytes', async () => {
  const [c, peer] = await connect({ maxInflight: 2, maxInflightBytes: 1000 });
  const done: number[] = [];
  const bodies = [400, 10, 900, 20, 30];
  const calls = bodies.map((n, i) => c.call(unary, new Uint8Array(n)).then(() => done.push(i)));
  await peer.until(Kind.Req, 2);
  let most = 0;
  let open = 0;
  let bytes = 0;
  peer.frames.length = 0;
  peer.answer = (f) => {
    open++;
    bytes += f.body.length;
    most = Math.max(most, bytes);
    setImmediate(() => {
      open--;
      bytes -= f.body.length;
      peer.send(Kind.Rsp, f.id, 0, 0, text('x'));
    });
  };
  peer.send(Kind.Rsp, 1, 0, 0, text('x'));
  peer.send(Kind.Rsp, 2, 0, 0, text('x'));
  await Promise.all(calls);
  assert.deepEqual(done, [0, 1, 2, 3, 4]);
  assert.deepEqual(peer.of(Kind.Req).map((f) => f.body.length), [900, 20, 30]);
  assert.ok(most <= 1000 && open === 0);
  await assert.rejects(c.call(unary, new Uint8Array(1001)), hasStatus(Status.ResourceExhausted, true));
  await c.close();
});

test('a message over the limit is refused here', async () => {
  const [c] = await connect({ maxMessage: 100 });
  await assert.rejects(c.call(unary, new Uint8Array(101)), hasStatus(Status.FrameTooLarge, true));
  await c.close();
});

test('long messages travel in parts both ways', async () => {
  const [c, peer] = await connect({ maxFrame: 1024 });
  const body = Uint8Array.from({ length: 5000 }, (_, i) => i);
  const call = c.call(unary, body);
  const parts = await peer.until(Kind.Req, 5);
  assert.deepEqual(parts.map((f) => f.flags), [flagMore, flagMore, flagMore, flagMore, 0]);
  const other = c.call(unary, text('between'));
  await peer.until(Kind.Req, 6);
  for (const f of parts.slice(0, 4)) peer.send(Kind.Rsp, 1, 0, 0, f.body, flagMore);
  peer.send(Kind.Rsp, 2, 0, 0, text('between'));
  assert.equal(Buffer.from(await other).toString(), 'between');
  peer.send(Kind.Rsp, 1, 0, 0, parts[4]!.body);
  assert.deepEqual(await call, body);
  await c.close();
});

test('metadata of an answer is passed over', async () => {
  const [c, peer] = await connect();
  peer.answer = (f) => {
    if (f.kind === Kind.Req) peer.send(Kind.Rsp, f.id, 0, 0, new Uint8Array([2, 0, 97, 98, 99]), flagMeta);
  };
  assert.equal(Buffer.from(await c.call(unary, nothing)).toString(), 'c');
  await c.close();
});

const offences: Record<string, (p: FakePeer) => void> = {
  'an answer nobody waits for': (p) => p.send(Kind.Rsp, 99),
  'a kind that servers do not send': (p) => p.send(Kind.Req, 1),
  'an event of a call': (p) => p.send(Kind.Event, 1, 1, 0, eventBody(1n, nothing)),
  'the end of a call': (p) => p.send(Kind.End, 1),
  'an empty part': (p) => p.send(Kind.Rsp, 1, 0, 0, nothing, flagMore),
  'parts of two kinds': (p) => (p.send(Kind.Rsp, 1, 0, 0, text('a'), flagMore), p.send(Kind.Err, 1, 5)),
  'more parts than are taken': (p) => {
    for (let i = 0; i < 17; i++) p.send(Kind.Rsp, 1, 0, 0, new Uint8Array(1 << 16), flagMore);
  },
  'metadata longer than the body': (p) => p.send(Kind.Rsp, 1, 0, 0, text('abc'), flagMeta),
  'a ping of another size': (p) => p.send(Kind.Ping, 0, 0, 0, text('abc')),
  'an unknown kind': (p) => p.raw(new Uint8Array([0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 0])),
};
for (const [name, offend] of Object.entries(offences)) {
  test(`${name} ends the connection`, async () => {
    const [c, peer] = await connect();
    const call = c.call(unary, nothing);
    await peer.until(Kind.Req, 1);
    offend(peer);
    await assert.rejects(call, (e) => e instanceof RpcError && [Status.BadFrame, Status.FrameTooLarge].includes(e.status as 32) && !e.notRun);
    await c.ended;
    assert.ok(peer.closed);
    await assert.rejects(c.call(unary, nothing), (e) => e instanceof RpcError && e.notRun);
  });
}

test('over a WebSocket a message may not end inside a frame', async () => {
  const peer = new FakePeer({}, true);
  const c = await Connection.open(peer.transport, config);
  const call = c.call(unary, nothing);
  peer.raw(new Uint8Array([0, 0, 0]));
  await assert.rejects(call, hasStatus(Status.BadFrame));
  await c.ended;
});

test('PING is answered with its bytes, under its id', async () => {
  const [c, peer] = await connect();
  peer.send(Kind.Ping, 5, 0, 0, text('12345678'));
  const [pong] = await peer.until(Kind.Pong, 1);
  assert.deepEqual([pong!.id, Buffer.from(pong!.body).toString()], [5, '12345678']);
  await c.close();
});

test('a silent server is asked, and left when it does not answer', async () => {
  const [c, peer] = await connect({ idleMs: 20 });
  const call = c.call(unary, nothing);
  await peer.until(Kind.Ping, 2);
  await assert.rejects(call, hasStatus(Status.Unavailable, false));
  await c.ended;
});

// ---------------------------------------------------------------- subscriptions

async function subscribe(window: number): Promise<[Connection, FakePeer, Awaited<ReturnType<Connection['subscribe']>>]> {
  const [c, peer] = await connect();
  peer.answer = (f) => {
    if (f.kind === Kind.Req) peer.send(Kind.Rsp, f.id, 0, 0, text('ack'));
  };
  return [c, peer, await c.subscribe(stream, text('topic'), { window })];
}

const event = (p: FakePeer, seq: bigint, body = 'e'): void => p.send(Kind.Event, 1, 1, 0, eventBody(seq, text(body)));

test('a subscription gives credit as its updates are taken', async () => {
  const [c, peer, s] = await subscribe(4);
  assert.equal(Buffer.from(s.answer).toString(), 'ack');
  assert.equal(peer.of(Kind.Req)[0]!.aux, noTimeout);
  assert.deepEqual(peer.of(Kind.Credit).map((f) => readU32(f.body)), [4]);
  for (let i = 1n; i <= 4n; i++) event(peer, i, String(i));
  const it = s[Symbol.asyncIterator]();
  const got: string[] = [];
  for (let i = 0; i < 4; i++) {
    const r = await it.next();
    assert.ok(!r.done);
    got.push(Buffer.from(r.value.body).toString());
  }
  assert.deepEqual(got, ['1', '2', '3', '4']);
  const credits = await peer.until(Kind.Credit, 3);
  assert.deepEqual(credits.map((f) => readU32(f.body)), [4, 2, 2]);
  await c.close();
});

test('gaps in the sequence are what was skipped', async () => {
  const [c, peer, s] = await subscribe(8);
  event(peer, 3n);
  event(peer, 4n);
  event(peer, 10n);
  peer.send(Kind.End, 1, 0, 2);
  const got: [bigint, number][] = [];
  for await (const e of s) got.push([e.seq, e.skipped]);
  assert.deepEqual(got, [[3n, 2], [4n, 0], [10n, 5]]);
  assert.equal(s.skipped, 9);
  await c.close();
});

test('leaving the loop cancels, and what still comes is dropped', async () => {
  const [c, peer, s] = await subscribe(8);
  event(peer, 1n);
  for await (const e of s) {
    assert.equal(e.seq, 1n);
    break;
  }
  await peer.until(Kind.Cancel, 1);
  event(peer, 2n);
  peer.send(Kind.End, 1, Status.Canceled);
  assert.deepEqual(await s[Symbol.asyncIterator]().next(), { done: true, value: undefined });
  peer.answer = echo(peer);
  await c.call(unary, text('still here'));
  await c.close();
});

test('a subscription that fails says so after what had come', async () => {
  const [c, peer, s] = await subscribe(8);
  event(peer, 1n);
  peer.send(Kind.End, 1, Status.DataLoss, 0, errorBody(false, '', 'damaged'));
  const got: bigint[] = [];
  await assert.rejects(async () => {
    for await (const e of s) got.push(e.seq);
  }, hasStatus(Status.DataLoss));
  assert.deepEqual(got, [1n]);
  await c.close();
});

test('a subscription that is refused does not open', async () => {
  const [c, peer] = await connect();
  peer.answer = (f) => {
    if (f.kind === Kind.Req) peer.send(Kind.Err, f.id, Status.PermissionDenied, 0, errorBody(true));
  };
  await assert.rejects(c.subscribe(stream, nothing), hasStatus(Status.PermissionDenied, true));
  await c.close();
});

test('a signal ends a subscription that is read, and one that is being opened', async () => {
  const [c, peer, s] = await subscribe(8);
  await c.close();
  await assert.rejects(s[Symbol.asyncIterator]().next(), hasStatus(Status.Canceled));
  const [d, other] = await connect();
  const stop = new AbortController();
  const opening = d.subscribe(stream, nothing, { signal: stop.signal });
  await other.until(Kind.Req, 1);
  stop.abort();
  await assert.rejects(opening, hasStatus(Status.Canceled, false));
  await other.until(Kind.Cancel, 1);
  other.send(Kind.Rsp, 1); // it crossed the CANCEL
  other.send(Kind.End, 1, Status.Canceled);
  const again = new AbortController();
  other.answer = (f) => {
    if (f.kind === Kind.Req) other.send(Kind.Rsp, f.id);
  };
  const open = await d.subscribe(stream, nothing, { signal: again.signal });
  const reading = open[Symbol.asyncIterator]().next();
  again.abort();
  await assert.rejects(reading, hasStatus(Status.Canceled));
  await other.until(Kind.Cancel, 2);
  await d.close();
  assert.ok(peer.closed);
});

const badEvents: Record<string, (p: FakePeer) => void> = {
  'an event without credit': (p) => [1n, 2n, 3n].forEach((n) => event(p, n)),
  'an event without its sequence': (p) => p.send(Kind.Event, 1, 1, 0, text('short')),
  'an event that comes again': (p) => (event(p, 1n), event(p, 1n)),
  'a second answer': (p) => p.send(Kind.Rsp, 1),
};
for (const [name, offend] of Object.entries(badEvents)) {
  test(`${name} ends the connection`, async () => {
    const [c, peer, s] = await subscribe(2);
    offend(peer);
    await c.ended;
    await assert.rejects(async () => {
      for await (const e of s) assert.ok(e.seq <= 2n);
    }, hasStatus(Status.BadFrame));
  });
}

// ---------------------------------------------------------------- goodbyes

test('after GOAWAY those that were taken may finish, the others did not run', async () => {
  const [c, peer] = await connect();
  const first = c.call(unary, text('1'));
  const second = c.call(unary, text('2'));
  await peer.until(Kind.Req, 2);
  peer.goAway(1, Status.Unavailable, errorBody(true, '', 'the server is stopping'));
  await assert.rejects(second, hasStatus(Status.Unavailable, true));
  assert.ok(!c.usable);
  await assert.rejects(c.call(unary, nothing), hasStatus(Status.Unavailable, true));
  peer.send(Kind.Rsp, 1, 0, 0, text('done'));
  assert.equal(Buffer.from(await first).toString(), 'done');
  await c.ended; // nothing is left to wait for
});

test('when a GOAWAY knows nothing, everything may have run', async () => {
  const [c, peer] = await connect();
  const call = c.call(unary, text('1'));
  await peer.until(Kind.Req, 1);
  peer.goAway(0, Status.SlowConsumer, errorBody(false));
  peer.close();
  await assert.rejects(call, hasStatus(Status.SlowConsumer, false));
  await c.ended;
});

test('a line that breaks fails what is in flight, and what waits has not run', async () => {
  const [c, peer] = await connect({ maxInflight: 1 });
  const sent = c.call(unary, nothing);
  const waits = c.call(unary, nothing);
  await peer.until(Kind.Req, 1);
  peer.close(new Error('reset by peer'));
  await assert.rejects(sent, hasStatus(Status.Unavailable, false));
  await assert.rejects(waits, hasStatus(Status.Unavailable, true));
  await c.ended;
});

test('what the transport does not take waits here, and calls of the meantime travel behind it', async () => {
  const [c, peer] = await connect();
  peer.answer = echo(peer);
  peer.buffered = 2 << 20;
  const calls = [c.call(unary, text('a')), c.call(unary, text('b'))];
  await new Promise(setImmediate);
  assert.equal(peer.of(Kind.Req).length, 0);
  peer.buffered = 0;
  peer.drained();
  assert.deepEqual((await Promise.all(calls)).map((b) => Buffer.from(b).toString()), ['a', 'b']);
  await c.close();
});

test('whatever a server sends, every call and subscription ends', async () => {
  const random = mulberry(99);
  const n = (most: number): number => Math.floor(random() * most);
  for (let round = 0; round < 200; round++) {
    const [c, peer] = await connect({ maxInflight: 3 }, { window: 2 });
    const calls = Array.from({ length: 2 + n(3) }, () => c.call(unary, nothing));
    const reading = (async () => {
      const s = await c.subscribe(stream, nothing);
      for await (const e of s) assert.ok(e.seq > 0n);
    })();
    const all = Promise.allSettled([...calls, reading]);
    await peer.until(Kind.Req, 3); // the others wait
    for (let i = 0; i < 12; i++) {
      const body = Uint8Array.from({ length: n(24) }, () => (random() < 0.7 ? n(3) : n(256)));
      peer.send(n(14), n(6), n(40), n(3), body, random() < 0.8 ? 0 : n(4));
    }
    peer.close();
    for (const r of await all) assert.ok(r.status === 'fulfilled' || r.reason instanceof RpcError, String((r as PromiseRejectedResult).reason));
    await c.ended;
  }
});
