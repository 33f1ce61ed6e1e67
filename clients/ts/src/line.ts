import type { Builder } from 'flatbuffers';
import { Builders } from './builders.js';
import type { CallOptions, Caller, MethodInfo, RawSubscription, SubscribeOptions } from './caller.js';
import { Connection, type ConnectionConfig } from './connection.js';
import { RpcError, aborted, retryable } from './errors.js';
import { AuthKind, type Proof, type Welcome } from './hello.js';
import { onAbort } from './signals.js';
import { Status } from './status.js';
import type { Transport } from './transport.js';
import { version } from './version.js';

/** Opens the way to the server. It gives up when the signal says so. */
export type Dial = (signal: AbortSignal) => Promise<Transport>;

/** What a client is told of its line. */
export type LineState =
  | { state: 'connected'; welcome: Welcome }
  | { state: 'disconnected'; error: RpcError; retryInMs: number }
  | { state: 'closed'; error: RpcError };

export interface LineOptions {
  /** The token's text, or what gives one whenever a connection begins. */
  token?: string | (() => string | Promise<string>);
  /** Another proof than a token. */
  auth?: () => Proof | Promise<Proof>;
  /** Name and version of the program, for the server's log. */
  name?: string;
  /** Of calls that ask for none. Default: 30 s. */
  timeoutMs?: number;
  /** For one attempt to connect. Default: 10 s. */
  connectTimeoutMs?: number;
  /** Updates of a subscription that may wait to be taken. Default: 256. */
  window?: number;
  /** Longest body of one frame that is taken. Default: 1 MiB. */
  maxFrame?: number;
  /** Bytes of long answers that may be held until they are whole. Default: 64 MiB. */
  maxReply?: number;
  /** The first pause before connecting again, and the longest. Default: 250 ms and 15 s. */
  backoff?: { firstMs: number; maxMs: number };
  /** Hears of connections that came and went. */
  onState?: (s: LineState) => void;
  /** Ends the first attempt to connect, and later the client. */
  signal?: AbortSignal;
}

/** Connected for that long, a line that breaks is tried again as if for the first time. */
const steadyMs = 5_000;
/** Least and most pause before a refused call is made once more. */
const againMs = 50;

interface Waiter {
  ready(c: Connection): void;
  fail(err: RpcError): void;
}

/**
 * Calls over one connection after another. When one breaks, the next is tried after a
 * pause that grows and is random, so that a thousand clients of a server that restarts
 * do not come at once. Calls made meanwhile wait, within their time.
 */
export class Line implements Caller {
  private conn: Connection | undefined;
  private old = new Set<Connection>();
  private waiters = new Set<Waiter>();
  private token: LineOptions['token'];
  private readonly cfg: Omit<ConnectionConfig, 'auth'>;
  private readonly first: number;
  private readonly most: number;
  private readonly life = new AbortController();
  private over: RpcError | undefined;
  private lastError: RpcError | undefined;
  private failures = 0;
  private refusals = 0;
  private since = 0;
  private retryAt = 0;
  private busy: Promise<void> = Promise.resolve();
  private deaf = (): void => undefined; // to the signal that ends it
  private readonly builders = new Builders();

  private constructor(
    private readonly dial: Dial,
    private readonly o: LineOptions,
    schemaHash: bigint,
  ) {
    this.token = o.token;
    this.first = o.backoff?.firstMs ?? 250;
    this.most = o.backoff?.maxMs ?? 15_000;
    this.cfg = {
      client: o.name ?? `tracker-client/${version}`,
      schemaHash,
      timeoutMs: o.timeoutMs ?? 30_000,
      connectTimeoutMs: o.connectTimeoutMs ?? 10_000,
      window: o.window ?? 256,
      maxFrame: o.maxFrame ?? 1 << 20,
      maxReply: o.maxReply ?? 64 << 20,
    };
  }

  /** Connects. An error of this first time is the caller's; later ones are tried again. */
  static async open(dial: Dial, o: LineOptions, schemaHash: bigint): Promise<Line> {
    const l = new Line(dial, o, schemaHash);
    const { signal } = o;
    if (signal?.aborted) throw aborted(signal, true);
    l.deaf = onAbort(signal, () => void l.close());
    try {
      await l.connect();
    } catch (err) {
      l.deaf();
      throw signal?.aborted ? aborted(signal, true) : err;
    }
    return l;
  }

  /** What the server said that holds; undefined while there is no connection. */
  get welcome(): Welcome | undefined {
    return this.conn?.welcome;
  }

  /** Until the next attempt to connect; 0: now, or connected. */
  get retryInMs(): number {
    return this.conn ? 0 : Math.max(0, this.retryAt - performance.now());
  }

  /** Why the line will never be connected again. */
  get closed(): RpcError | undefined {
    return this.over;
  }

  /** Aborts when the line is over. */
  get ending(): AbortSignal {
    return this.life.signal;
  }

  /** What the next connection shows. */
  useToken(token: string): void {
    this.token = token;
  }

  /** Ends the line and waits until nothing of it is left. */
  async close(): Promise<void> {
    this.end(new RpcError(Status.Canceled, 'closed', { notRun: true }));
    const conns = [...this.old];
    await Promise.all([this.busy, ...conns.map((c) => c.close())]);
  }

  // ---------------------------------------------------------------- calls

  builder(): Builder {
    return this.builders.next();
  }

  call(m: MethodInfo, body: Uint8Array, o?: CallOptions): Promise<Uint8Array> {
    const kept = new Uint8Array(body);
    const until = performance.now() + this.timeout(m, o);
    const { conn } = this;
    const tried = conn?.usable ? conn.call(m, body, o) : this.attempt(m, kept, o, until);
    return tried.catch((err: unknown) => this.again(err, m, until, o, () => this.attempt(m, kept, o, until)));
  }

  private async attempt(m: MethodInfo, body: Uint8Array, o: CallOptions | undefined, until: number): Promise<Uint8Array> {
    const c = await this.connected(until, o?.signal);
    const timeoutMs = Math.max(1, until - performance.now());
    return c.call(m, body, { ...o, timeoutMs });
  }

  async subscribe(m: MethodInfo, body: Uint8Array, o?: SubscribeOptions): Promise<RawSubscription> {
    const kept = new Uint8Array(body);
    const until = performance.now() + this.cfg.timeoutMs;
    const open = async (): Promise<RawSubscription> => {
      const c = await this.connected(until, o?.signal);
      return c.subscribe(m, kept, o);
    };
    return open().catch((err: unknown) => this.again(err, m, until, o, open));
  }

  private timeout(m: MethodInfo, o: CallOptions | undefined): number {
    return o?.timeoutMs ?? (m.timeoutMs || this.cfg.timeoutMs);
  }

  /** Makes a request once more if that can help and does no harm. */
  private async again<T>(
    err: unknown,
    m: MethodInfo,
    until: number,
    o: { signal?: AbortSignal } | undefined,
    attempt: () => Promise<T>,
  ): Promise<T> {
    const left = until - performance.now();
    if (this.over || o?.signal?.aborted || left <= 0 || !this.worth(err, m)) throw err;
    if (this.conn?.usable) {
      // It was the server that refused, and it is still there.
      const pause = err.retryAfterMs || againMs * (0.5 + Math.random() / 2);
      if (pause >= left || !(await sleep(pause, o?.signal, this.life.signal))) throw err;
    }
    return attempt();
  }

  private worth(err: unknown, m: MethodInfo): err is RpcError {
    if (!(err instanceof RpcError) || err.status === Status.DeadlineExceeded) return false;
    if (retryable(err, m.idempotent)) return true;
    return err.notRun && err.status === Status.Unauthenticated && typeof this.token === 'function' && !this.conn?.usable;
  }

  /** Waits for a connection until that time. */
  connected(until: number, signal?: AbortSignal): Promise<Connection> {
    if (signal?.aborted) return Promise.reject(aborted(signal, true));
    if (this.over) return Promise.reject(this.over);
    if (this.conn?.usable) return Promise.resolve(this.conn);
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.waiters.delete(w);
        clearTimeout(timer);
        deaf();
      };
      const w: Waiter = {
        ready: (c) => (done(), resolve(c)),
        fail: (err) => (done(), reject(err)),
      };
      const abort = (): void => w.fail(aborted(signal!, true));
      const late = (): void => w.fail(this.away());
      const ms = Math.max(1, until - performance.now());
      const timer = ms < 2 ** 31 ? setTimeout(late, ms) : undefined;
      const deaf = onAbort(signal, abort);
      this.waiters.add(w);
    });
  }

  private away(): RpcError {
    const cause = this.lastError;
    return new RpcError(Status.Unavailable, `not connected: ${cause?.message ?? 'no connection in time'}`, { notRun: true, cause });
  }

  // ---------------------------------------------------------------- connections

  private async connect(): Promise<void> {
    const t = new AbortController();
    const ms = this.cfg.connectTimeoutMs;
    let late = false;
    const timer = setTimeout(() => ((late = true), t.abort()), ms);
    const deaf = onAbort(this.life.signal, () => t.abort(this.life.signal.reason));
    if (this.life.signal.aborted) t.abort(this.life.signal.reason);
    try {
      const auth = await within(t.signal, this.proof());
      const transport = await this.dial(t.signal);
      const c: { it?: Connection; why?: RpcError } = {};
      const leaving = (why: RpcError): void => {
        if (c.it) this.lost(c.it, why);
        else c.why = why;
      };
      c.it = await Connection.open(transport, { ...this.cfg, auth }, t.signal, { leaving });
      this.take(c.it, c.why);
    } catch (err) {
      if (!late) throw err;
      throw new RpcError(Status.DeadlineExceeded, `connecting took more than ${ms} ms`, { notRun: true, cause: err });
    } finally {
      clearTimeout(timer);
      deaf();
    }
  }

  private async proof(): Promise<Proof> {
    if (this.o.auth) return this.o.auth();
    const token = typeof this.token === 'function' ? await this.token() : this.token;
    if (token === undefined) return { kind: AuthKind.None, bytes: new Uint8Array(0) };
    return { kind: AuthKind.Bearer, bytes: new TextEncoder().encode(token) };
  }

  /** Takes a connection into use; gone says why it ended before it was taken. */
  private take(c: Connection, gone: RpcError | undefined): void {
    this.old.add(c);
    void c.ended.then(() => this.old.delete(c));
    if (this.over) {
      void c.close();
      return;
    }
    this.conn = c;
    this.since = performance.now();
    this.refusals = 0;
    for (const w of [...this.waiters]) w.ready(c);
    this.say({ state: 'connected', welcome: c.welcome });
    if (gone) this.lost(c, gone);
  }

  private lost(c: Connection, why: RpcError): void {
    this.lastError = why;
    if (this.conn !== c) return;
    this.conn = undefined;
    if (this.over) return;
    if (performance.now() - this.since >= steadyMs) this.failures = 0;
    if (this.hopeless(why)) return this.end(why);
    this.busy = this.reconnect(why);
  }

  private async reconnect(why: RpcError): Promise<void> {
    for (;;) {
      const pause = this.pause();
      this.retryAt = performance.now() + pause;
      this.say({ state: 'disconnected', error: why, retryInMs: pause });
      if (!(await sleep(pause, this.life.signal))) return;
      try {
        return await this.connect();
      } catch (err) {
        why = err instanceof RpcError ? err : new RpcError(Status.Unknown, String(err), { cause: err, notRun: true });
        this.lastError = why;
        if (this.over) return;
        if (this.hopeless(why)) return this.end(why);
      }
    }
  }

  private pause(): number {
    const most = Math.min(this.first * 2 ** Math.min(this.failures, 16), this.most);
    this.failures++;
    return most / 2 + (Math.random() * most) / 2;
  }

  /** Whether trying again could not help. A token that is asked for may be another one next time. */
  private hopeless(err: RpcError): boolean {
    switch (err.status) {
      case Status.Unauthenticated:
        return typeof this.token !== 'function' || err.reason === untrusted || ++this.refusals > 1;
      case Status.PermissionDenied:
      case Status.InvalidArgument:
      case Status.Version:
        return true;
      default:
        return false;
    }
  }

  private end(why: RpcError): void {
    if (this.over) return;
    this.over = why;
    this.deaf();
    this.life.abort(why);
    const c = this.conn;
    this.conn = undefined;
    for (const w of [...this.waiters]) w.fail(why);
    void c?.close();
    this.say({ state: 'closed', error: why });
  }

  private say(s: LineState): void {
    try {
      this.o.onState?.(s);
    } catch (err) {
      queueMicrotask(() => {
        throw err; // the listener's bug is the program's to hear of, not the line's
      });
    }
  }
}

/** Reason of the error when whoever answered is not the server that was meant. */
export const untrusted = 'untrusted';

/** What p gives, unless the signal comes first; then p is nobody's. */
function within<T>(signal: AbortSignal, p: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const deaf = onAbort(signal, () => reject(aborted(signal, true)));
    if (signal.aborted) reject(aborted(signal, true));
    void p.then(resolve, reject).then(deaf);
  });
}

/** Sleeps; false: a signal ended it. */
export function sleep(ms: number, ...signals: (AbortSignal | undefined)[]): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (slept: boolean): void => {
      clearTimeout(timer);
      for (const d of deaf) d();
      resolve(slept);
    };
    const stop = (): void => done(false);
    const timer = setTimeout(() => done(true), ms);
    const deaf = signals.map((s) => onAbort(s, stop));
    if (signals.some((s) => s?.aborted)) stop();
  });
}
