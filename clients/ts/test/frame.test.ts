import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Frame, Kind, Output, Parser, chunkSize, flagMore } from '#dist/frame.js';
import { RpcError, Status } from 'tracker-client';
import { text, u32 } from './fake.js';
import { fromHex, mulberry, repository, toHex } from './root.js';

const page = readFileSync(join(repository, 'docs/rpc.md'), 'utf8');

function golden(name: string): Uint8Array {
  const line = page.split('\n').find((l) => l.startsWith(`${name} `.padEnd(11)) && /^[0-9a-f ]+$/.test(l.slice(11)));
  assert.ok(line, `no golden frame "${name}"`);
  return fromHex(line.slice(11));
}

const sum = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);

type Args = [kind: number, flags: number, id: number, code: number, aux: number, body: Uint8Array];

const goldens: Record<string, Args> = {
  request: [Kind.Req, 0, 7, 0x0101, 0, sum],
  deadline: [Kind.Req, 0, 8, 0x0102, 250, u32(0).subarray(4)],
  answer: [Kind.Rsp, 0, 7, 0, 0, new Uint8Array([3, 0, 0, 0, 0, 0, 0, 0])],
  cancel: [Kind.Cancel, 0, 8, 0, 0, new Uint8Array(0)],
  notify: [Kind.Notify, 0, 0, 0x0103, 0, text('x')],
  event: [Kind.Event, 0, 9, 1, 3, new Uint8Array([10, 0, 0, 0, 0, 0, 0, 0, 97, 98, 99])],
  credit: [Kind.Credit, 0, 9, 0, 0, u32(64)],
  end: [Kind.End, 0, 9, 0, 2, new Uint8Array(0)],
  ping: [Kind.Ping, 0, 0, 0, 0, new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8])],
  'first part': [Kind.Req, flagMore, 10, 0x0103, 0, text('ab')],
  'last part': [Kind.Req, 0, 10, 0x0103, 0, text('c')],
};

const encode = (...args: Args): Uint8Array => {
  const out = new Output();
  out.frame(...args);
  return out.take().bytes;
};

function parse(chunks: Uint8Array[], limit = 1 << 20): Frame[] {
  const p = new Parser(limit);
  const frames: Frame[] = [];
  for (const c of chunks) {
    p.push(c);
    for (let f = new Frame(); p.next(f); f = new Frame()) frames.push(f);
  }
  assert.equal(p.left, 0);
  return frames;
}

for (const [name, args] of Object.entries(goldens)) {
  test(`the frame "${name}" is that of the documentation`, () => {
    assert.equal(toHex(encode(...args)), toHex(golden(name)));
    const [kind, flags, id, code, aux, body] = args;
    assert.deepEqual({ ...parse([golden(name)])[0], body: toHex(body) }, { kind, flags, id, code, aux, body: toHex(body) });
  });
}

test('frames come out the same wherever the bytes are split', () => {
  const whole = Buffer.concat(Object.values(goldens).map((a) => encode(...a)));
  const want = parse([Uint8Array.from(whole)]).map((f) => ({ ...f, body: toHex(f.body) }));
  assert.equal(want.length, Object.keys(goldens).length);
  for (let at = 0; at <= whole.length; at++) {
    const got = parse([Uint8Array.from(whole.subarray(0, at)), Uint8Array.from(whole.subarray(at))]);
    assert.deepEqual(got.map((f) => ({ ...f, body: toHex(f.body) })), want);
  }
  const single = parse([...whole].map((b) => new Uint8Array([b])));
  assert.deepEqual(single.map((f) => ({ ...f, body: toHex(f.body) })), want);
});

test('bodies that were handed out stay what they were', () => {
  const random = mulberry(1);
  const out = new Output();
  const bodies: string[] = [];
  for (let i = 0; i < 300; i++) {
    const b = Uint8Array.from({ length: Math.floor(random() * 900) }, () => Math.floor(random() * 256));
    bodies.push(toHex(b));
    out.frame(Kind.Event, 0, i, 0, 0, b);
  }
  const all = out.take().bytes;
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < all.length; ) {
    const n = 1 + Math.floor(random() * 2000);
    chunks.push(all.slice(at, at + n));
    at += n;
  }
  assert.deepEqual(parse(chunks).map((f) => toHex(f.body)), bodies);
});

const broken: [string, number[], number][] = [
  ['an unknown kind', [0, 0, 0, 13], Status.BadFrame],
  ['the kind of extensions', [0, 0, 0, 15], Status.BadFrame],
  ['a reserved flag', [0, 0, 0, 0x40 | Kind.Rsp], Status.BadFrame],
  ['the other reserved flag', [0, 0, 0, 0x80 | Kind.Rsp], Status.BadFrame],
  ['a frame over the limit', [0xff, 0xff, 0xff, Kind.Rsp], Status.FrameTooLarge],
];
for (const [name, word, status] of broken) {
  test(`${name} is refused by its header alone`, () => {
    const p = new Parser(1024);
    p.push(Uint8Array.from([...word, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert.throws(() => p.next(new Frame()), (e) => e instanceof RpcError && e.status === status);
  });
}

test('random bytes yield frames or an RpcError', () => {
  const random = mulberry(7);
  for (let round = 0; round < 2000; round++) {
    const p = new Parser(4096);
    const b = Uint8Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256));
    if (random() < 0.8) for (let i = 3; i < b.length; i += 12) b[i]! &= 0x3f;
    try {
      p.push(b);
      const f = new Frame();
      while (p.next(f)) assert.ok(f.body.length <= 4096);
    } catch (e) {
      assert.ok(e instanceof RpcError, String(e));
    }
  }
});

test('a long message travels in parts, and each WebSocket message holds whole frames', () => {
  const random = mulberry(3);
  const out = new Output();
  const body = Uint8Array.from({ length: 200_000 }, () => Math.floor(random() * 256));
  out.message(Kind.Req, 5, 0x0f04, 100, body, 1 << 20);
  for (let i = 0; i < 5000; i++) out.frame(Kind.Credit, 0, i, 0, 0, u32(i));
  const { bytes, cuts } = out.take();
  const messages: Uint8Array[] = [];
  let from = 0;
  for (const to of [...cuts, bytes.length]) {
    messages.push(bytes.subarray(from, to));
    from = to;
  }
  const parts: Uint8Array[] = [];
  let frames = 0;
  for (const m of messages) {
    const got = parse([m]);
    assert.ok(m.length <= chunkSize || got.length === 1);
    assert.ok(got.length > 0);
    frames += got.length;
    for (const f of got) if (f.kind === Kind.Req) parts.push(f.body);
  }
  assert.equal(frames, 4 + 5000);
  assert.equal(toHex(Buffer.concat(parts)), toHex(body));
  assert.equal(out.length, 0);
});
