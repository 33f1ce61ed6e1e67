import assert from 'node:assert/strict';
import test from 'node:test';
import { Builder } from 'flatbuffers';
import { Kind, type Frame } from '#dist/frame.js';
import * as m from '#dist/gen/messages.js';
import { Line } from '#dist/line.js';
import { FrameKind, LiveWatch, RpcError, Status, methods, type Area, type WatchEvent, type WatchOptions } from 'tracker-client';
import { FakePeer, errorBody, eventBody } from './fake.js';

const { Snapshot, Fixes, Resync } = FrameKind;
const openId = methods['Watch.Open']!.id;
const moveId = methods['Watch.Move']!.id;

/** A server that is told what to say to watches. */
class Stage {
  peers: FakePeer[] = [];
  asked: m.WatchReqT[] = [];
  line!: Line;
  private seq = 0n;
  private watchId = 0;
  acks: m.WatchAckInit[] = [];
  onMove: (id: number, req: m.MoveReqT) => void = () => undefined;

  static async open(...acks: m.WatchAckInit[]): Promise<Stage> {
    const s = new Stage();
    s.acks = acks;
    const dial = (): Promise<FakePeer['transport']> => {
      const p = new FakePeer();
      p.answer = (f) => s.answer(p, f);
      s.peers.push(p);
      return Promise.resolve(p.transport);
    };
    s.line = await Line.open(dial, { token: 't', backoff: { firstMs: 2, maxMs: 5 } }, 1n);
    return s;
  }

  get peer(): FakePeer {
    return this.peers.at(-1)!;
  }

  private answer(p: FakePeer, f: Frame): void {
    if (f.kind !== Kind.Req) return;
    if (f.code === moveId) return this.onMove(f.id, m.decodeMoveReq(f.body));
    assert.equal(f.code, openId);
    this.asked.push(m.decodeWatchReq(f.body));
    this.seq = 0n;
    this.watchId = f.id;
    const ack = this.acks.shift();
    if (ack) p.send(Kind.Rsp, f.id, 0, 0, m.encodeWatchAck(new Builder(), ack).slice());
    else p.send(Kind.Err, f.id, Status.NotFound, 0, errorBody(true, 'not_found'));
  }

  ackMove(id: number, ack: m.WatchAckInit): void {
    this.peer.send(Kind.Rsp, id, 0, 0, m.encodeWatchAck(new Builder(), ack).slice());
  }

  frame(f: m.WatchFrameInit): void {
    const body = m.encodeWatchFrame(new Builder(), { stream: 1, epoch: 'e1', ...f }).slice();
    this.peer.send(Kind.Event, this.watchId, 2, 0, eventBody(++this.seq, body));
  }

  watch(area: Area, o?: WatchOptions): [LiveWatch, AsyncGenerator<WatchEvent>] {
    const w = new LiveWatch(this.line, area, o);
    return [w, w[Symbol.asyncIterator]()];
  }
}

const fixes = (n: number): m.FixInit[] => Array.from({ length: n }, (_, i) => ({ time: i + 1, deviceLo: i, has: 1, lat: i }));
const kind = async (it: AsyncGenerator<WatchEvent>): Promise<string> => {
  const r = await it.next();
  return r.done ? 'done' : r.value.kind;
};

test('positions are checked: after fixes, after skipped ones, after a snapshot in parts', async () => {
  const s = await Stage.open({ watch: 1, stream: 1, epoch: 'e1' });
  const [, it] = s.watch({ all: true });
  const first = it.next();
  await s.peer.until(Kind.Req, 1);
  s.frame({ kind: Snapshot, fresh: true, more: true, fixes: fixes(2), names: ['a', 'b'] });
  s.frame({ kind: Snapshot, position: 100, fixes: fixes(1), names: ['c'] });
  s.frame({ kind: Fixes, position: 103, fixes: fixes(3), names: ['a', 'b', 'c'], left: ['000000000007'] });
  s.frame({ kind: Resync, position: 1103, skipped: 1000, fixes: fixes(2), names: ['a', 'b'] });
  s.frame({ kind: Fixes, position: 1104, fixes: fixes(1), names: ['a'] });
  const got: WatchEvent[] = [(await first).value as WatchEvent];
  for (let i = 0; i < 4; i++) got.push((await it.next()).value as WatchEvent);
  assert.deepEqual(got.map((e) => e.kind), ['snapshot', 'snapshot', 'fixes', 'resync', 'fixes']);
  const [a, b, c, d] = got as Extract<WatchEvent, { kind: 'resync' }>[];
  assert.deepEqual([a!.first, a!.more, b!.first, b!.more, d!.skipped], [true, true, false, false, 1000]);
  assert.deepEqual(a!.fixes.map((f) => [f.device, f.name, f.lat]), [['000000000000', 'a', 0], ['000000000001', 'b', 1e-7]]);
  assert.deepEqual(c!.left, ['000000000007']);
  await s.line.close();
  assert.equal(await kind(it), 'done');
});

test('a gap counts as a broken line, and a snapshot follows', async () => {
  const s = await Stage.open({ watch: 1, stream: 1, epoch: 'e1' }, { watch: 2, stream: 1, epoch: 'e1' });
  const [, it] = s.watch({ all: true });
  const first = it.next();
  await s.peer.until(Kind.Req, 1);
  s.frame({ kind: Snapshot, fresh: true, position: 10 });
  await first;
  s.frame({ kind: Fixes, position: 13, fixes: fixes(2), names: ['a', 'b'] });
  const broken = (await it.next()).value as Extract<WatchEvent, { kind: 'disconnected' }>;
  assert.deepEqual([broken.kind, broken.error.status], ['disconnected', Status.DataLoss]);
  const next = it.next();
  await s.peer.until(Kind.Cancel, 1);
  await s.peer.until(Kind.Req, 2);
  assert.deepEqual([s.asked[1]!.resumeEpoch, s.asked[1]!.resumePosition], ['', 0]);
  s.frame({ kind: Snapshot, fresh: true, position: 20 });
  assert.equal(((await next).value as WatchEvent).kind, 'snapshot');
  assert.equal(s.peers.length, 1); // the connection itself is good
  await s.line.close();
});

test('a watch says where it stood, and tells when nothing was missed', async () => {
  const s = await Stage.open({ watch: 1, stream: 1, epoch: 'e1' }, { watch: 1, stream: 1, epoch: 'e1', resumed: true }, { watch: 1, stream: 1, epoch: 'e2' });
  const [, it] = s.watch({ devices: ['van'] });
  const first = it.next();
  await s.peer.until(Kind.Req, 1);
  s.frame({ kind: Snapshot, fresh: true, position: 10 });
  await first;
  s.peer.close(new Error('reset'));
  assert.equal(await kind(it), 'disconnected');
  assert.equal(await kind(it), 'resumed');
  assert.deepEqual([s.asked[1]!.resumeEpoch, s.asked[1]!.resumePosition, s.asked[1]!.area.devices], ['e1', 10, ['van']]);
  s.frame({ kind: Fixes, position: 12, fixes: fixes(2), names: ['a', 'b'] });
  assert.equal(await kind(it), 'fixes');
  s.peer.close(new Error('reset'));
  assert.equal(await kind(it), 'disconnected');
  const next = it.next();
  while (s.asked.length < 3) await new Promise(setImmediate);
  assert.deepEqual([s.asked[2]!.resumeEpoch, s.asked[2]!.resumePosition], ['e1', 12]);
  s.frame({ kind: Snapshot, fresh: true, position: 1, epoch: 'e2' });
  assert.equal(((await next).value as WatchEvent).kind, 'snapshot');
  await s.line.close();
});

test('frames of a new area may come before the answer to the move, those of the old one after it', async () => {
  const s = await Stage.open({ watch: 5, stream: 1, epoch: 'e1' });
  const [w, it] = s.watch({ devices: ['a'] });
  const first = it.next();
  await s.peer.until(Kind.Req, 1);
  s.frame({ kind: Snapshot, fresh: true, position: 10 });
  await first;
  s.onMove = (id, req) => {
    assert.deepEqual([req.watch, req.area.devices], [5, ['b']]);
    s.frame({ kind: Fixes, position: 11, fixes: fixes(1), names: ['a'] });
    s.frame({ kind: Snapshot, fresh: true, stream: 2, position: 50, fixes: fixes(1), names: ['b'] });
    s.ackMove(id, { watch: 5, stream: 2, epoch: 'e1' });
    s.frame({ kind: Fixes, stream: 1, position: 12, fixes: fixes(1), names: ['a'] }); // of the area that was left
    s.frame({ kind: Fixes, stream: 2, position: 51, fixes: fixes(1), names: ['b'] });
  };
  const moved = w.move({ devices: ['b'] });
  const seen: string[] = [];
  for (let e = await it.next(); seen.push((e.value as WatchEvent).kind) < 3; ) e = await it.next();
  assert.deepEqual(seen, ['fixes', 'snapshot', 'fixes']);
  await moved;
  await s.line.close();
});

test('a move that is refused leaves the watch as it was', async () => {
  const s = await Stage.open({ watch: 5, stream: 1, epoch: 'e1' }, { watch: 6, stream: 1, epoch: 'e1', resumed: true });
  const [w, it] = s.watch({ devices: ['a'] });
  const first = it.next();
  await s.peer.until(Kind.Req, 1);
  s.frame({ kind: Snapshot, fresh: true, position: 10 });
  await first;
  s.onMove = (id) => s.peer.send(Kind.Err, id, Status.NotFound, 0, errorBody(true));
  await assert.rejects(w.move({ devices: ['unicorn'] }), (e) => e instanceof RpcError && e.status === Status.NotFound);
  s.frame({ kind: Fixes, position: 11, fixes: fixes(1), names: ['a'] });
  assert.equal(await kind(it), 'fixes');
  s.peer.close(new Error('reset'));
  assert.equal(await kind(it), 'disconnected');
  assert.equal(await kind(it), 'resumed');
  assert.deepEqual([s.asked[1]!.area.devices, s.asked[1]!.resumePosition], [['a'], 11]);
  await s.line.close();
});

test('a move while there is no connection is what the next one begins with', async () => {
  const s = await Stage.open({ watch: 5, stream: 1, epoch: 'e1' }, { watch: 1, stream: 1, epoch: 'e1' });
  const [w, it] = s.watch({ devices: ['a'] });
  const first = it.next();
  await s.peer.until(Kind.Req, 1);
  s.frame({ kind: Snapshot, fresh: true, position: 10 });
  await first;
  s.peer.close(new Error('reset'));
  assert.equal(await kind(it), 'disconnected');
  await w.move({ devices: ['b'] });
  const next = it.next();
  while (s.asked.length < 2) await new Promise(setImmediate);
  assert.deepEqual([s.asked[1]!.area.devices, s.asked[1]!.resumeEpoch], [['b'], '']);
  s.frame({ kind: Snapshot, fresh: true, position: 3 });
  assert.equal(((await next).value as WatchEvent).kind, 'snapshot');
  w.close();
  assert.equal(await kind(it), 'done');
  await s.line.close();
});

test('a signal that comes while a watch is told that it was resumed ends it', async () => {
  const ack = { watch: 1, stream: 1, epoch: 'e1' };
  const s = await Stage.open(ack, { ...ack, resumed: true });
  const stop = new AbortController();
  const [, it] = s.watch({ all: true }, { signal: stop.signal });
  const first = it.next();
  await s.peer.until(Kind.Req, 1);
  s.frame({ kind: Snapshot, fresh: true, position: 1 });
  await first;
  s.peer.close();
  assert.equal(await kind(it), 'disconnected');
  assert.equal(await kind(it), 'resumed');
  stop.abort();
  await assert.rejects(it.next(), (e) => e instanceof RpcError && e.status === Status.Canceled);
  await s.line.close();
});

test('a watch that waits to try again ends at once with its client', async (t) => {
  const s = await Stage.open();
  s.peer.answer = (f) => {
    if (f.kind === Kind.Req) s.peer.send(Kind.Err, f.id, Status.Unavailable, 0, errorBody(true));
  };
  const [, it] = s.watch({ all: true });
  assert.equal(await kind(it), 'disconnected');
  t.mock.timers.enable({ apis: ['setTimeout'] }); // no pause ends by itself from here
  const next = it.next();
  await new Promise(setImmediate);
  await s.line.close();
  assert.ok((await next).done);
});

test('a watch that is refused is over, with the reason', async () => {
  const s = await Stage.open();
  const [, it] = s.watch({ devices: ['unicorn'] });
  await assert.rejects(it.next(), (e) => e instanceof RpcError && e.reason === 'not_found');
  assert.equal(await kind(it), 'done');
  await s.line.close();
});
