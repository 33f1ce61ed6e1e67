import { Frame, Kind, Output, Parser, preamble } from '#dist/frame.js';
import type { Transport, TransportHandler } from '#dist/transport.js';
import type { MethodInfo } from 'tracker-client';

export const text = (s: string): Uint8Array => new TextEncoder().encode(s);
export const nothing = new Uint8Array(0);

export function u32(n: number): Uint8Array {
  const b = new Uint8Array(4);
  new DataView(b.buffer).setUint32(0, n, true);
  return b;
}

export function readU32(b: Uint8Array): number {
  return new DataView(b.buffer, b.byteOffset).getUint32(0, true);
}

export const unary: MethodInfo = {
  id: 0x0101, service: 'Fake', name: 'Call', stream: false, idempotent: false, event: 0, timeoutMs: 0,
};
export const idempotent: MethodInfo = { ...unary, id: 0x0102, name: 'Again', idempotent: true };
export const stream: MethodInfo = { ...unary, id: 0x0103, name: 'Sub', stream: true, event: 1 };

export interface Limits {
  maxFrame: number;
  maxInflight: number;
  maxInflightBytes: number;
  maxCredit: number;
  maxMessage: number;
  idleMs: number;
}

export function welcome(l: Partial<Limits> = {}): Uint8Array {
  const w = {
    maxFrame: 1 << 20, maxInflight: 4096, maxInflightBytes: 4 << 20, maxCredit: 1 << 16,
    maxMessage: 4 << 20, idleMs: 60_000, ...l,
  };
  const v = new DataView(new ArrayBuffer(64));
  v.setUint16(0, 1, true);
  v.setUint32(4, w.maxFrame, true);
  v.setBigUint64(8, 7n, true);
  v.setBigUint64(16, 9n, true);
  [w.maxInflight, w.maxInflightBytes, 256, w.maxCredit, w.maxMessage, w.idleMs, 0, 0].forEach((n, i) =>
    v.setUint32(24 + 4 * i, n, true),
  );
  v.setBigUint64(56, 1_700_000_000_000n, true);
  return new Uint8Array(v.buffer);
}

export function errorBody(notRun: boolean, reason = '', message = '', retryAfterMs = 0): Uint8Array {
  const texts = [reason, message, '', ''].map(text);
  const b = new Uint8Array(5 + texts.reduce((n, t) => n + 2 + t.length, 0));
  b.set(u32(retryAfterMs));
  b[4] = notRun ? 1 : 0;
  let at = 5;
  for (const t of texts) {
    b[at] = t.length;
    b.set(t, at + 2);
    at += 2 + t.length;
  }
  return b;
}

export function eventBody(seq: bigint, body: Uint8Array): Uint8Array {
  const b = new Uint8Array(8 + body.length);
  new DataView(b.buffer).setBigUint64(0, seq, true);
  b.set(body, 8);
  return b;
}

/**
 * The other end of a connection, in memory. It answers as the test says; what the
 * client sent is kept.
 */
export class FakePeer {
  readonly frames: Frame[] = [];
  readonly transport: Transport;
  /** Bytes that the transport pretends not to have sent. */
  buffered = 0;
  /** Answers a frame; by default it welcomes and does no more. */
  answer: (f: Frame) => void = () => undefined;
  onClose: () => void = () => undefined;

  private readonly parser = new Parser(1 << 24);
  private handler: TransportHandler | undefined;
  private greeted = false;
  private isClosed = false;
  private waiters: { want: () => boolean; done: () => void }[] = [];

  constructor(private readonly limits: Partial<Limits> = {}, whole = false) {
    this.transport = {
      whole,
      buffered: 0,
      start: (h) => void (this.handler = h),
      send: (bytes) => this.receive(bytes),
      close: () => this.close(),
    };
    Object.defineProperty(this.transport, 'buffered', { get: () => this.buffered });
  }

  get closed(): boolean {
    return this.isClosed;
  }

  private receive(bytes: Uint8Array): void {
    if (!this.greeted) {
      this.greeted = true;
      if (bytes.subarray(0, 4).join() !== preamble.join()) throw new Error('no preamble');
      bytes = bytes.subarray(4);
    }
    this.parser.push(bytes);
    for (let f = new Frame(); this.parser.next(f); f = new Frame()) {
      this.frames.push(f);
      if (f.kind === Kind.Hello) this.send(Kind.Welcome, 0, 0, 0, welcome(this.limits));
      this.answer(f);
    }
    this.waiters = this.waiters.filter((w) => !w.want() || (w.done(), false));
  }

  /** Sends a frame in the next turn. */
  send(kind: number, id: number, code = 0, aux = 0, body: Uint8Array = nothing, flags = 0): void {
    const out = new Output();
    out.frame(kind, flags, id, code, aux, body);
    this.raw(out.take().bytes);
  }

  raw(bytes: Uint8Array): void {
    const copy = bytes.slice();
    setImmediate(() => this.handler?.data(copy));
  }

  goAway(lastId: number, status: number, body: Uint8Array): void {
    const b = new Uint8Array(4 + body.length);
    b.set(u32(lastId));
    b.set(body, 4);
    this.send(Kind.GoAway, 0, status, 0, b);
  }

  drained(): void {
    this.handler?.drained();
  }

  close(err?: Error): void {
    if (this.isClosed) return;
    this.isClosed = true;
    setImmediate(() => {
      this.handler?.closed(err);
      this.onClose();
    });
  }

  of(kind: number): Frame[] {
    return this.frames.filter((f) => f.kind === kind);
  }

  /** Waits until the client has sent so many frames of a kind. */
  until(kind: number, n: number): Promise<Frame[]> {
    return new Promise((resolve) => {
      const want = (): boolean => this.of(kind).length >= n;
      const done = (): void => resolve(this.of(kind));
      if (want()) done();
      else this.waiters.push({ want, done });
    });
  }
}
