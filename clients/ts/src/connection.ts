import type { Builder } from 'flatbuffers';
import { Builders } from './builders.js';
import type { CallOptions, Caller, MethodInfo, SubscribeOptions } from './caller.js';
import { RpcError, aborted, broken } from './errors.js';
import { Frame, Kind, Output, Parser, flagMeta, flagMore, noTimeout, preamble } from './frame.js';
import { decodeError, decodeGoAway, decodeWelcome, encodeHello, type Proof, type Welcome } from './hello.js';
import { onAbort } from './signals.js';
import { Status } from './status.js';
import { Stream, type StreamHost } from './stream.js';
import type { Transport, TransportHandler } from './transport.js';

export interface ConnectionConfig {
  auth: Proof;
  /** Name and version of the program. */
  client: string;
  schemaHash: bigint;
  /** Of calls that ask for none. */
  timeoutMs: number;
  /** Until the server has let this side in. */
  connectTimeoutMs: number;
  /** Updates of a subscription that may wait to be taken. */
  window: number;
  /** Bytes of body that this side takes in one frame. */
  maxFrame: number;
  /** Bytes that answers in several frames may hold while they are not whole. */
  maxReply: number;
}

/** More than that is not handed to the transport before it has sent some. */
const maxBuffered = 1 << 20;
/** The server takes something within that time, or it is left. */
const stallMs = 10_000;
/** Requests that wait for their answers hold at most that many bytes, whatever the server would take. */
const maxRequestBytes = 16 << 20;
/** Deadlines are looked at no more often. */
const sweepMs = 10;

const nothing = new Uint8Array(0);
const hearsNothing = (): void => undefined;

/**
 * A request that waits: for room, for its answer, or as a subscription for its end. It
 * keeps its id until then, even when its caller gave up.
 */
interface Pending {
  method: MethodInfo;
  stream: Stream | undefined;
  bytes: number;
  deadline: number;
  /** The caller has its answer. */
  done: boolean;
  /** While it waits for room. */
  body: Uint8Array | undefined;
  id: number;
  /** Stops listening to the caller's signal. */
  deaf: () => void;
  resolve(body: Uint8Array): void;
  reject(err: RpcError): void;
}

/** The parts of a message that is not whole. */
interface Parts {
  kind: number;
  code: number;
  size: number;
  bodies: Uint8Array[];
}

/** What somebody wants to know of a connection. */
export interface ConnectionEvents {
  /** No new requests: the server said goodbye, or the connection ended. Once. */
  leaving(why: RpcError): void;
}

/**
 * One connection. Calls share it, and what is called in one turn of the event loop
 * travels together. It ends with an error, which is an RpcError, and is not opened
 * again: that is the client's.
 */
export class Connection implements Caller, StreamHost, TransportHandler {
  private readonly parser: Parser;
  private readonly out = new Output();
  private readonly f = new Frame();
  private readonly builders = new Builders();

  private readonly calls = new Map<number, Pending>();
  private readonly parts = new Map<number, Parts>();
  private partBytes = 0;
  private waiting: Pending[] = [];
  private nextId = 0;
  private inflight = 0; // calls that hold an id, without subscriptions
  private bytes = 0; // of all requests that hold an id
  private maxBytes = 0;

  private flushing = false;
  private stall: ReturnType<typeof setTimeout> | undefined;
  private sweeper: ReturnType<typeof setTimeout> | undefined;
  private sweepAt = Infinity;
  private keeper: ReturnType<typeof setInterval> | undefined;
  private heard = performance.now();
  private greeting: { resolve(c: Connection): void; reject(e: RpcError): void } | undefined;

  private hold: Welcome | undefined;
  private over: RpcError | undefined; // the connection has ended
  private goodbye: RpcError | undefined; // no new requests
  private gone!: () => void;
  private readonly goneP = new Promise<void>((resolve) => (this.gone = resolve));

  private constructor(
    private readonly transport: Transport,
    private readonly cfg: ConnectionConfig,
    private readonly events: Partial<ConnectionEvents>,
  ) {
    this.parser = new Parser(cfg.maxFrame);
  }

  /** Shakes hands over t, which belongs to the connection from now on. */
  static open(
    t: Transport,
    cfg: ConnectionConfig,
    signal?: AbortSignal,
    events: Partial<ConnectionEvents> = {},
  ): Promise<Connection> {
    const c = new Connection(t, cfg, events);
    return c.greet(signal);
  }

  /** What the server said that holds. */
  get welcome(): Welcome {
    return this.hold!;
  }

  /** New requests can be made. */
  get usable(): boolean {
    return this.goodbye === undefined;
  }

  /** Settles when nothing of the connection is left. */
  get ended(): Promise<void> {
    return this.goneP;
  }

  /** Ends the connection. Calls in flight fail with Canceled. */
  close(): Promise<void> {
    this.fail(new RpcError(Status.Canceled, 'closed'));
    return this.goneP;
  }

  // ---------------------------------------------------------------- requests

  builder(): Builder {
    return this.builders.next();
  }

  call(m: MethodInfo, body: Uint8Array, o?: CallOptions): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const timeout = o?.timeoutMs ?? (m.timeoutMs || this.cfg.timeoutMs);
      this.start(m, undefined, body, timeout, o?.signal, resolve, reject);
    });
  }

  subscribe(m: MethodInfo, body: Uint8Array, o?: SubscribeOptions): Promise<Stream> {
    const window = Math.max(1, Math.min(o?.window ?? this.cfg.window, this.welcome.maxCredit));
    const s = new Stream(this, window);
    return new Promise((resolve, reject) => {
      this.start(m, s, body, this.cfg.timeoutMs, o?.signal, () => resolve(s), reject);
    });
  }

  private start(
    method: MethodInfo,
    stream: Stream | undefined,
    body: Uint8Array,
    timeoutMs: number,
    signal: AbortSignal | undefined,
    resolve: (body: Uint8Array) => void,
    reject: (err: RpcError) => void,
  ): void {
    const refusal = this.refusal(body, timeoutMs, signal);
    if (refusal) return reject(refusal);
    const deadline = performance.now() + timeoutMs;
    const p: Pending = {
      method, stream, bytes: body.length, deadline, done: false, body: undefined, id: 0, deaf: hearsNothing, resolve, reject,
    };
    if (signal) p.deaf = onAbort(signal, () => this.abort(p, signal));
    this.expect(deadline);
    if (this.waiting.length === 0 && this.fits(p)) return this.send(p, body, timeoutMs);
    p.body = new Uint8Array(body);
    this.waiting.push(p);
  }

  private refusal(body: Uint8Array, timeoutMs: number, signal: AbortSignal | undefined): RpcError | undefined {
    if (this.goodbye) return notSent(this.goodbye);
    if (signal?.aborted) return aborted(signal, true);
    if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) {
      return new RpcError(Status.InvalidArgument, `a timeout of ${timeoutMs} ms`);
    }
    if (body.length > this.welcome.maxMessage) {
      return new RpcError(Status.FrameTooLarge, "message over the server's limit");
    }
    if (body.length > this.maxBytes) {
      return new RpcError(Status.ResourceExhausted, 'message over the limit of requests in flight', { notRun: true });
    }
    return undefined;
  }

  private fits(p: Pending): boolean {
    if (p.stream === undefined && this.inflight >= this.welcome.maxInflight) return false;
    return this.bytes + p.bytes <= this.maxBytes;
  }

  private send(p: Pending, body: Uint8Array, remainMs: number): void {
    const id = this.newId();
    p.id = id;
    this.calls.set(id, p);
    this.bytes += p.bytes;
    const limit = this.welcome.maxFrame;
    if (p.stream) {
      p.stream.id = id;
      this.out.message(Kind.Req, id, p.method.id, noTimeout, body, limit);
      this.credit(id, p.stream.window);
    } else {
      this.inflight++;
      // The header holds 65 s; of a longer wait only this side keeps the time.
      const aux = remainMs >= noTimeout ? noTimeout : Math.max(1, Math.ceil(remainMs));
      this.out.message(Kind.Req, id, p.method.id, aux, body, limit);
    }
    this.poke();
  }

  private newId(): number {
    do {
      this.nextId = (this.nextId + 1) >>> 0;
    } while (this.nextId === 0 || this.calls.has(this.nextId));
    return this.nextId;
  }

  /** Lets waiting requests go, in their order, as far as there is room. */
  private admit(): void {
    let n = 0;
    for (const p of this.waiting) {
      if (!p.done) {
        if (!this.fits(p)) break;
        const body = p.body!;
        p.body = undefined;
        this.send(p, body, Math.max(1, p.deadline - performance.now()));
      }
      n++;
    }
    if (n > 0) this.waiting.splice(0, n);
  }

  /** Forgets a request whose last frame has come. */
  private release(p: Pending): void {
    this.calls.delete(p.id);
    this.bytes -= p.bytes;
    if (!p.stream) this.inflight--;
    p.deaf();
    if (this.goodbye && this.calls.size === 0) this.fail(this.goodbye);
    else if (this.waiting.length > 0) this.admit();
  }

  private give(p: Pending, body: Uint8Array): void {
    if (p.done) return;
    p.done = true;
    p.resolve(body);
  }

  private refuse(p: Pending, err: RpcError): void {
    if (p.done) return;
    p.done = true;
    p.reject(err);
  }

  /** The caller does not wait any longer. The id stays in use until the server has answered. */
  private giveUp(p: Pending, err: (notRun: boolean) => RpcError): void {
    if (p.done) return;
    p.deaf();
    const sent = p.id !== 0;
    this.refuse(p, err(!sent));
    p.body = undefined;
    if (p.stream) p.stream.close();
    else if (sent) this.sendCancel(p.id);
  }

  private sendCancel(id: number): void {
    if (this.over || !this.calls.has(id)) return;
    this.out.frame(Kind.Cancel, 0, id, 0, 0, nothing);
    this.poke();
  }

  cancel(s: Stream): void {
    this.sendCancel(s.id);
  }

  grant(s: Stream, n: number): void {
    if (this.over || !this.calls.has(s.id)) return;
    this.credit(s.id, n);
    this.poke();
  }

  private credit(id: number, n: number): void {
    this.out.frame(Kind.Credit, 0, id, 0, 0, new Uint8Array([n, n >> 8, n >> 16, n >> 24]));
  }

  private abort(p: Pending, signal: AbortSignal): void {
    if (p.stream?.accepted) p.stream.abort(signal);
    else this.giveUp(p, (notRun) => aborted(signal, notRun));
    if (p.id === 0) this.admit();
  }

  // ---------------------------------------------------------------- time

  /** Makes sure that somebody looks at t. One timer serves all calls. */
  private expect(t: number): void {
    if (t >= this.sweepAt) return;
    if (this.sweeper !== undefined) clearTimeout(this.sweeper);
    this.sweepAt = t;
    this.sweeper = setTimeout(() => this.sweep(), Math.max(1, Math.ceil(t - performance.now())));
  }

  private sweep(): void {
    const now = performance.now();
    let next = Infinity;
    const look = (p: Pending): void => {
      if (p.done) return;
      if (p.deadline <= now) this.giveUp(p, (notRun) => new RpcError(Status.DeadlineExceeded, '', { notRun }));
      else if (p.deadline < next) next = p.deadline;
    };
    this.sweeper = undefined;
    this.sweepAt = Infinity;
    this.calls.forEach(look);
    this.waiting.forEach(look);
    this.admit();
    if (next < Infinity && !this.over) this.expect(Math.max(next, now + sweepMs));
  }

  /** Finds a server that is gone without a word within twice the idle time. */
  private keepAlive(): void {
    const idle = Math.max(this.welcome.idleMs, 20);
    const silent = performance.now() - this.heard;
    if (silent > 2 * idle) return this.fail(new RpcError(Status.Unavailable, 'the server is silent', { notRun: false }));
    if (silent < idle / 2) return;
    this.out.frame(Kind.Ping, 0, 0, 0, 0, new Uint8Array(8));
    this.poke();
  }

  // ---------------------------------------------------------------- output

  private poke(): void {
    if (this.flushing) return;
    this.flushing = true;
    queueMicrotask(this.flush);
  }

  private readonly flush = (): void => {
    this.flushing = false;
    if (this.over || this.out.length === 0) return;
    if (this.transport.buffered > maxBuffered) {
      if (this.out.length > this.maxBytes + maxBuffered) this.fail(unread());
      else this.stall ??= setTimeout(() => this.fail(unread()), stallMs);
      return;
    }
    const { bytes, cuts } = this.out.take();
    this.transport.send(bytes, cuts);
  };

  drained(): void {
    if (this.stall !== undefined) clearTimeout(this.stall);
    this.stall = undefined;
    if (this.out.length > 0) this.flush();
  }

  // ---------------------------------------------------------------- handshake

  private greet(signal: AbortSignal | undefined): Promise<Connection> {
    return new Promise<Connection>((resolve, reject) => {
      const abort = (): void => this.fail(aborted(signal!, true));
      const late = (): void => this.fail(new RpcError(Status.DeadlineExceeded, 'handshake', { notRun: true }));
      const timer = setTimeout(late, this.cfg.connectTimeoutMs);
      const deaf = onAbort(signal, abort);
      const clear = (): void => {
        clearTimeout(timer);
        deaf();
        this.greeting = undefined;
      };
      this.greeting = {
        resolve: (c) => (clear(), resolve(c)),
        reject: (e) => (clear(), reject(e)),
      };
      if (signal?.aborted) return abort();
      try {
        this.hello();
      } catch (err) {
        return this.fail(err instanceof RpcError ? err : new RpcError(Status.InvalidArgument, String(err), { cause: err, notRun: true }));
      }
      this.transport.start(this);
      this.flush();
    });
  }

  private hello(): void {
    this.out.raw(preamble);
    this.out.frame(Kind.Hello, 0, 0, 0, 0, encodeHello({
      protoMin: 1,
      protoMax: 1,
      maxFrame: this.cfg.maxFrame,
      schemaHash: this.cfg.schemaHash,
      features: 0,
      client: this.cfg.client,
      auth: this.cfg.auth,
    }));
  }

  private welcomed(f: Frame): void {
    if (f.kind === Kind.GoAway) throw decodeGoAway(f.code, f.body).error;
    const w = f.kind === Kind.Welcome ? decodeWelcome(f.body) : undefined;
    if (w?.proto !== 1) throw broken('the server does not welcome');
    this.hold = w;
    this.maxBytes = Math.min(w.maxInflightBytes, maxRequestBytes);
    this.keeper = setInterval(() => this.keepAlive(), Math.min(Math.max(w.idleMs, 20) / 2, 2 ** 30));
    this.greeting?.resolve(this);
  }

  // ---------------------------------------------------------------- input

  data(chunk: Uint8Array): void {
    if (this.over) return;
    this.heard = performance.now();
    try {
      this.parser.push(chunk);
      const f = this.f;
      while (!this.over && this.parser.next(f)) {
        if (this.hold) this.frame(f);
        else this.welcomed(f);
      }
      if (this.transport.whole && this.parser.left > 0) throw broken('a message that ends inside a frame');
    } catch (err) {
      this.fail(err instanceof RpcError ? err : new RpcError(Status.Internal, String(err), { cause: err }));
    }
  }

  private frame(f: Frame): void {
    switch (f.kind) {
      case Kind.Ping:
        if (f.body.length !== 8) throw broken('a ping carries 8 bytes');
        this.out.frame(Kind.Pong, 0, f.id, 0, 0, f.body);
        return this.poke();
      case Kind.Pong:
        return;
      case Kind.GoAway:
        return this.goAway(f);
      case Kind.Rsp:
      case Kind.Err:
      case Kind.Event:
      case Kind.End:
        break;
      default:
        throw broken('a server does not send this kind');
    }
    const p = this.calls.get(f.id);
    if (!p) throw broken('an answer nobody waits for');
    if (f.flags !== 0 || this.parts.size > 0) {
      if (!this.assemble(f, p)) return;
    }
    this.answered(f, p);
  }

  private answered(f: Frame, p: Pending): void {
    const s = p.stream;
    if (f.kind === Kind.Rsp) {
      if (!s) {
        this.give(p, f.body);
        return this.release(p);
      }
      s.accept(new Uint8Array(f.body));
      return this.give(p, f.body);
    }
    if (f.kind === Kind.Event) {
      if (!s) throw broken('an event of a call');
      return s.event(f);
    }
    if (f.kind === Kind.End && !s) throw broken('the end of a call');
    const ok = f.kind === Kind.End && f.code === Status.OK;
    const err = ok ? undefined : decodeError(f.code, f.body);
    if (s) s.end(err, f.aux);
    this.refuse(p, err ?? new RpcError(Status.Unavailable, 'ended before it was open', { notRun: false }));
    this.release(p);
  }

  /** Puts the parts of a message together; true: it is whole, and in f. */
  private assemble(f: Frame, p: Pending): boolean {
    let parts = this.parts.get(f.id);
    const more = (f.flags & flagMore) !== 0;
    if (f.flags & flagMeta) {
      const meta = f.body.length < 2 ? Infinity : 2 + (f.body[0]! | (f.body[1]! << 8));
      if (parts || meta > f.body.length) throw broken('metadata longer than the body');
      f.body = f.body.subarray(meta);
    }
    if (!parts) {
      if (!more) return true;
      parts = { kind: f.kind, code: f.code, size: 0, bodies: [] };
      this.parts.set(f.id, parts);
    }
    if (parts.kind !== f.kind || parts.code !== f.code || (more && f.body.length === 0)) {
      throw broken('parts that do not fit');
    }
    if (this.partBytes + f.body.length > this.cfg.maxReply) throw broken('answer over the limit', Status.FrameTooLarge);
    parts.size += f.body.length;
    this.partBytes += f.body.length;
    parts.bodies.push(p.done && !p.stream ? nothing : f.body);
    if (more) return false;
    this.parts.delete(f.id);
    this.partBytes -= parts.size;
    f.body = join(parts.bodies);
    return true;
  }

  /** No new requests; those that the server has not taken can be made elsewhere, the others may finish. */
  private goAway(f: Frame): void {
    const { lastId, error } = decodeGoAway(f.code, f.body);
    this.leave(error);
    if (lastId !== undefined && error.notRun) {
      for (const p of [...this.calls.values()]) {
        if ((p.id - lastId) << 0 <= 0) continue; // ids wrap
        this.settle(p, notSent(error));
        this.release(p);
      }
    }
    if (this.calls.size === 0) this.fail(error);
  }

  private leave(why: RpcError): void {
    if (this.goodbye) return;
    this.goodbye = why;
    const waiting = this.waiting;
    this.waiting = [];
    for (const p of waiting) this.settle(p, notSent(why));
    this.events.leaving?.(why);
  }

  private settle(p: Pending, err: RpcError): void {
    p.deaf();
    if (p.stream) p.stream.end(err, 0);
    this.refuse(p, err);
  }

  closed(cause?: Error): void {
    const detail = cause ? cause.message : 'the server closed the connection';
    this.fail(this.goodbye ?? new RpcError(Status.Unavailable, detail, { notRun: this.hold === undefined, cause }));
    this.gone();
  }

  /** Ends everything, once. */
  private fail(err: RpcError): void {
    if (this.over) return;
    this.over = err;
    clearTimeout(this.stall);
    clearTimeout(this.sweeper);
    clearInterval(this.keeper);
    this.transport.close();
    this.greeting?.reject(err);
    const ran = maybeRun(err);
    for (const p of this.calls.values()) this.settle(p, ran);
    this.calls.clear();
    this.parts.clear();
    this.leave(err);
  }
}

function join(bodies: Uint8Array[]): Uint8Array {
  let n = 0;
  for (const b of bodies) n += b.length;
  const whole = new Uint8Array(n);
  n = 0;
  for (const b of bodies) {
    whole.set(b, n);
    n += b.length;
  }
  return whole;
}

const copy = (e: RpcError, notRun: boolean): RpcError =>
  new RpcError(e.status, e.detail, {
    reason: e.reason, field: e.field, ref: e.ref, retryAfterMs: e.retryAfterMs, notRun, cause: e.cause ?? e,
  });

/** Why a request was not sent: for what ended the connection. */
const notSent = (e: RpcError): RpcError => copy(e, true);

/** Why a request has no answer; nobody knows whether it ran. */
const maybeRun = (e: RpcError): RpcError => copy(e, false);

const unread = (): RpcError => new RpcError(Status.Unavailable, 'the server does not read', { notRun: false });
