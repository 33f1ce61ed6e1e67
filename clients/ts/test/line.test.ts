import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import test from 'node:test';
import { Kind } from '#dist/frame.js';
import { Line, type Dial, type LineState } from '#dist/line.js';
import { WebSocketTransport, type WebSocketConstructor } from '#dist/transport.js';
import { RpcError, Status } from 'tracker-client';
import { connect } from 'tracker-client/node';
import { FakePeer, errorBody, nothing, unary } from './fake.js';

const hasStatus = (status: number) => (e: unknown): boolean => {
  assert.ok(e instanceof RpcError, String(e));
  assert.equal(e.statusName, new RpcError(status).statusName, e.message);
  return true;
};

function peers(prepare: (p: FakePeer) => void = () => undefined): [Dial, FakePeer[]] {
  const all: FakePeer[] = [];
  const dial = (): Promise<FakePeer['transport']> => {
    const p = new FakePeer();
    prepare(p);
    all.push(p);
    return Promise.resolve(p.transport);
  };
  return [dial, all];
}

test('a token that does not come counts as a connection that does not', async () => {
  const [dial] = peers();
  const never = (): Promise<string> => new Promise(() => undefined);
  await assert.rejects(Line.open(dial, { token: never, connectTimeoutMs: 10 }, 1n), hasStatus(Status.DeadlineExceeded));
  const stop = new AbortController();
  const opening = Line.open(dial, { token: never, signal: stop.signal }, 1n);
  stop.abort();
  await assert.rejects(opening, hasStatus(Status.Canceled));
});

test('a line whose token does not come can be closed', async () => {
  const [dial, all] = peers();
  let asked = 0;
  let again = (): void => undefined;
  const secondTime = new Promise<void>((resolve) => (again = resolve));
  const token = (): Promise<string> => (++asked === 1 ? Promise.resolve('t') : (again(), new Promise(() => undefined)));
  const line = await Line.open(dial, { token, backoff: { firstMs: 1, maxMs: 1 } }, 1n);
  all[0]!.close();
  await secondTime;
  await line.close();
});

test('a proof that no handshake can carry leaves nothing behind', async () => {
  const [dial, all] = peers();
  await assert.rejects(Line.open(dial, { token: 'x'.repeat(1 << 16) }, 1n), hasStatus(Status.InvalidArgument));
  assert.ok(all[0]!.closed);
});

test('a server that says goodbye right behind its welcome is heard', async () => {
  const [dial] = peers((p) => {
    p.answer = (f) => {
      if (f.kind === Kind.Hello) p.goAway(0, Status.Unauthenticated, errorBody(true, 'revoked'));
    };
    const raw = p.raw.bind(p);
    let held = new Uint8Array(0);
    p.raw = (b) => { // both in one piece
      if (held.length === 0) return void (held = b.slice());
      const whole = new Uint8Array(held.length + b.length);
      whole.set(held);
      whole.set(b, held.length);
      raw(whole);
    };
  });
  const states: LineState[] = [];
  const line = await Line.open(dial, { token: 't', onState: (s) => states.push(s) }, 1n);
  assert.deepEqual(states.map((s) => s.state), ['connected', 'closed']);
  await assert.rejects(line.call(unary, nothing), hasStatus(Status.Unauthenticated));
  await line.close();
});

test('what says how to know a server is not passed over where it cannot be heeded', async () => {
  const sockets: Socket[] = [];
  const server = createServer((s) => sockets.push(s)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  const fingerprint = `sha256:${'00'.repeat(32)}`;
  for (const scheme of ['ws', 'wss']) {
    await assert.rejects(connect(`${scheme}://127.0.0.1:${port}`, { tls: { fingerprint }, token: 't', connectTimeoutMs: 200 }), hasStatus(Status.InvalidArgument));
  }
  assert.equal(sockets.length, 0);
  server.close();
});

test('a message of text ends a WebSocket, and nothing else', async () => {
  /** As strict as a browser's. */
  class Strict {
    binaryType = '';
    bufferedAmount = 0;
    protocol = 'trk.v1';
    readyState = 1;
    onopen: (() => void) | null = null;
    onmessage: ((e: { data: unknown }) => void) | null = null;
    onerror: (() => void) | null = null;
    onclose: ((e: { code: number }) => void) | null = null;
    constructor() {
      made.push(this);
      setImmediate(() => this.onopen?.());
    }
    send(): void {}
    close(code?: number): void {
      if (code !== undefined && code !== 1000 && (code < 3000 || code > 4999)) throw new Error('InvalidAccessError');
      setImmediate(() => this.onclose?.({ code: code ?? 1005 }));
    }
  }
  const made: Strict[] = [];
  const t = await WebSocketTransport.open('ws://x/', Strict as unknown as WebSocketConstructor, new AbortController().signal);
  const closed = new Promise<Error | undefined>((resolve) => t.start({ data: () => assert.fail('data'), drained: () => undefined, closed: resolve }));
  made[0]!.onmessage!({ data: 'text' });
  made[0]!.onmessage!({ data: new ArrayBuffer(4) });
  assert.match(String(await closed), /not binary/);
});
