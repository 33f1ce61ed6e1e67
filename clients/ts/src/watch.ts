import type { Connection } from './connection.js';
import { RpcError, aborted, broken } from './errors.js';
import { readFixes, writeBox, type Box, type Fix } from './fix.js';
import type { AreaInit, WatchAckT, WatchFrameT } from './gen/messages.js';
import { WatchClient } from './gen/services.js';
import { FrameKind } from './gen/trk.js';
import { sleep, type Line } from './line.js';
import { onAbort } from './signals.js';
import { Status, mayPass } from './status.js';
import type { Subscription } from './subscription.js';

/** What is watched: everything, some devices by id or name, a box in degrees, or the devices on a map, by its id or name. */
export type Area = { all: true } | { devices: string[] } | { box: Box } | { map: string };

export interface WatchOptions {
  /** Ends the watch. */
  signal?: AbortSignal;
  /** Messages that may wait to be taken. Whoever has fewer is skipped sooner and stays closer to the present. Default: 8. */
  window?: number;
}

interface View {
  /** Makes void what was known before: a device not named from here to the event without more is not in view. */
  first: boolean;
  /** It goes on in the next event. */
  more: boolean;
}

interface Changes {
  fixes: Fix[];
  /** Ids of devices that are no longer in view. */
  left: string[];
}

export type WatchEvent =
  /** The present of what is watched, in one or more events. */
  | ({ kind: 'snapshot' } & View & Changes)
  /** New fixes, every one and in order. */
  | ({ kind: 'fixes' } & Changes)
  /** This side was too slow: the newest fix of each device that changed meanwhile. */
  | ({ kind: 'resync'; skipped: number } & View & Changes)
  /** The line broke, or the server went away. The watch tries again. */
  | { kind: 'disconnected'; error: RpcError; retryInMs: number }
  /** Connected again, and nothing was missed. */
  | { kind: 'resumed' };

/** A watch on the connection that carries it. */
interface Open {
  conn: Connection;
  sub: Subscription<WatchAckT, WatchFrameT>;
  number: number;
  stream: number;
  /** What ended it from this side. */
  why?: RpcError;
}

const firstBackoff = 250;
const maxBackoff = 15_000;
const defaultWindow = 8;

/**
 * A live view of some area, to iterate over. It connects again by itself and takes up
 * where it was if the server still can; otherwise a snapshot comes. A gap in the
 * positions counts as a broken line. It has one reader; leaving the loop ends it.
 */
export class LiveWatch implements AsyncIterable<WatchEvent> {
  private confirmed: Area;
  private moved = false;
  private open: Open | undefined;
  private moving: Promise<void> = Promise.resolve();
  private epoch = '';
  private position = NaN;
  private complete = false; // the view is whole, so that it can be resumed
  private failures = 0;
  private readonly end = new AbortController();
  private begun = false;

  constructor(
    private readonly line: Line,
    private area: Area,
    private readonly o: WatchOptions = {},
  ) {
    this.confirmed = area;
  }

  /** Ends the watch; iteration ends. */
  close(): void {
    this.end.abort();
    this.open?.sub.close();
  }

  /**
   * Points the watch at another area, in place; a snapshot of it follows. If the server
   * refuses, this throws and the watch goes on as before. While there is no connection,
   * the next one begins with it.
   */
  move(area: Area): Promise<void> {
    const moved = this.moving.then(() => this.moveTo(area));
    this.moving = moved.catch(() => undefined);
    return moved;
  }

  private async moveTo(area: Area): Promise<void> {
    const on = this.open;
    this.area = area;
    this.moved = true;
    if (!on) return;
    try {
      const ack = await new WatchClient(on.conn).move({ watch: on.number, area: request(area) }, this.signals());
      if (on.stream !== ack.stream) {
        this.complete = false;
        this.position = NaN;
      }
      on.stream = ack.stream;
      this.epoch = ack.epoch;
      this.confirmed = area;
      this.moved = false;
    } catch (err) {
      if (!(err instanceof RpcError)) throw err;
      if (this.open !== on || !on.conn.usable || this.end.signal.aborted) return; // the next connection begins with it
      if (err.notRun) {
        this.area = this.confirmed;
        this.moved = false;
        throw err;
      }
      on.why = err; // nobody knows what is watched now
      on.sub.close();
    }
  }

  private signals(): { signal?: AbortSignal } {
    return this.o.signal ? { signal: this.o.signal } : {};
  }

  [Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, undefined> {
    if (this.begun) throw new Error('a watch has one reader');
    this.begun = true;
    return this.run();
  }

  private async *run(): AsyncGenerator<WatchEvent, void, undefined> {
    try {
      for (;;) {
        try {
          const resumed = await this.begin();
          if (resumed) yield { kind: 'resumed' };
          yield* this.frames(this.open!);
        } catch (err) {
          if (this.over(err)) return;
          const { error, retryInMs } = this.again(err);
          yield { kind: 'disconnected', error, retryInMs };
          if (this.line.retryInMs) continue; // the line waits
          if (!(await sleep(retryInMs, this.end.signal, this.o.signal, this.line.ending)) && this.over(error)) return;
        }
      }
    } finally {
      this.close();
    }
  }

  /** Opens the watch on the line's connection, waiting for one. true: it goes on where it was. */
  private async begin(): Promise<boolean> {
    await this.moving;
    const stop = either(this.end.signal, this.o.signal);
    try {
      const conn = await this.line.connected(Infinity, stop.signal);
      const { area } = this;
      const resume = this.complete && !this.moved ? { resumeEpoch: this.epoch, resumePosition: this.position } : {};
      const sub = await new WatchClient(conn).open(
        { area: request(area), ...resume },
        { signal: stop.signal, window: this.o.window ?? defaultWindow },
      );
      const ack = sub.answer;
      const resumed = ack.resumed && this.complete && ack.epoch === this.epoch;
      if (!resumed) {
        this.complete = false;
        this.position = NaN;
      }
      this.epoch = ack.epoch;
      this.confirmed = area;
      if (this.area === area) this.moved = false;
      this.open = { conn, sub, number: ack.watch, stream: ack.stream };
      if (this.moved) this.moving = this.moveTo(this.area).catch(() => undefined); // asked for meanwhile
      return resumed;
    } finally {
      stop.clear();
    }
  }

  private async *frames(on: Open): AsyncGenerator<WatchEvent, void, undefined> {
    const deaf = onAbort(this.o.signal, () => on.sub.close());
    if (this.o.signal?.aborted) on.sub.close(); // meanwhile, so that nobody hears of it
    try {
      for await (const { value: f } of on.sub) {
        if (f.stream !== on.stream) await this.moving; // its answer may be behind the frame
        if (on.why) break;
        if (f.stream !== on.stream) continue; // of an area that was left
        yield this.advance(f);
      }
    } finally {
      deaf();
      this.open = undefined;
      on.sub.close();
    }
    throw on.why ?? new RpcError(Status.Unavailable, 'the server ended the watch', { notRun: false });
  }

  /** Checks the numbers of a frame and makes an event of it. */
  private advance(f: WatchFrameT): WatchEvent {
    const fixes = readFixes(f);
    const changes: Changes = { fixes, left: f.left };
    const view: View = { first: f.fresh, more: f.more };
    if (f.kind === FrameKind.Snapshot) {
      if (!f.more) this.position = f.position;
      if (f.epoch) this.epoch = f.epoch;
      this.arrived(!f.more);
      return { kind: 'snapshot', ...view, ...changes };
    }
    if (f.kind !== FrameKind.Fixes && f.kind !== FrameKind.Resync) {
      throw broken(`a frame of kind ${f.kind as number}`);
    }
    const n = f.kind === FrameKind.Fixes ? fixes.length : 0;
    if (this.position + n + f.skipped !== f.position) {
      this.complete = false;
      throw broken(`the stream went from ${this.position} to ${f.position} with ${n} fixes and ${f.skipped} skipped`, Status.DataLoss);
    }
    this.position = f.position;
    this.arrived(!f.more);
    if (f.kind === FrameKind.Fixes) return { kind: 'fixes', ...changes };
    return { kind: 'resync', skipped: f.skipped, ...view, ...changes };
  }

  private arrived(complete: boolean): void {
    this.complete = complete;
    this.failures = 0;
  }

  /** Whether that is the end; throws if it is not one that was asked for. */
  private over(err: unknown): boolean {
    if (this.o.signal?.aborted) throw aborted(this.o.signal);
    if (this.end.signal.aborted) return true;
    const { closed } = this.line;
    if (closed?.status === Status.Canceled) return true; // the client was closed
    if (closed) throw closed;
    if (!(err instanceof RpcError) || final(err)) throw err;
    return false;
  }

  private again(err: unknown): { error: RpcError; retryInMs: number } {
    const most = Math.min(firstBackoff * 2 ** Math.min(this.failures++, 10), maxBackoff);
    const own = most / 2 + (Math.random() * most) / 2;
    return { error: err as RpcError, retryInMs: this.line.retryInMs || own };
  }
}

/** Whether trying again could not help. */
function final(err: RpcError): boolean {
  switch (err.status) {
    case Status.Canceled:
    case Status.Unknown:
    case Status.Internal:
    case Status.DataLoss:
    case Status.BadFrame:
    case Status.FrameTooLarge:
    case Status.Unauthenticated: // the line knows whether another token may do
      return false;
    default:
      return !mayPass(err.status);
  }
}

function request(a: Area): AreaInit {
  if ('box' in a) return { box: writeBox(a.box) };
  if ('devices' in a) return { devices: a.devices };
  if ('map' in a) return { mapRef: a.map };
  return { all: true };
}

/** A signal that follows others until it is cleared. */
function either(...signals: (AbortSignal | undefined)[]): { signal: AbortSignal; clear(): void } {
  const c = new AbortController();
  const deaf = signals.map((s) => {
    if (s?.aborted) c.abort(s.reason);
    return onAbort(s, () => c.abort(s!.reason));
  });
  return { signal: c.signal, clear: () => deaf.forEach((d) => d()) };
}
