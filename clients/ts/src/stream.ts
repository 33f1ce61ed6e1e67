import type { Event, RawSubscription } from './caller.js';
import { RpcError, aborted, broken } from './errors.js';
import type { Frame } from './frame.js';

/** What a stream asks of its connection. */
export interface StreamHost {
  grant(s: Stream, credit: number): void;
  cancel(s: Stream): void;
}

type Result = IteratorResult<Event, undefined>;

const nothing = new Uint8Array(0);
const over: Result = { done: true, value: undefined };

/**
 * The calling end of a subscription. It gives the server credit as its updates are
 * taken, so whoever does not read is not sent more than a window.
 */
export class Stream implements RawSubscription {
  id = 0;
  answer: Uint8Array = nothing;
  skipped = 0;
  accepted = false;

  private queue: Event[] = [];
  private head = 0;
  private waiter: { resolve(r: Result): void; reject(e: RpcError): void } | undefined;
  private ended = false;
  private closed = false;
  private error: RpcError | undefined;
  private seq = 0n;
  private credit: number;
  private taken = 0;

  constructor(
    private readonly host: StreamHost,
    /** Updates that may wait here. */
    readonly window: number,
  ) {
    this.credit = window;
  }

  [Symbol.asyncIterator](): AsyncIterator<Event, undefined> {
    return {
      next: () => this.next(),
      return: () => {
        this.close();
        return Promise.resolve(over);
      },
    };
  }

  close(): void {
    this.stop(undefined);
  }

  /** Ends the reading, with an error if the signal asked for it. */
  abort(signal: AbortSignal): void {
    this.stop(aborted(signal));
  }

  private stop(error: RpcError | undefined): void {
    if (this.closed) return;
    this.closed = true;
    this.queue = [];
    this.head = 0;
    if (this.ended) {
      this.error = undefined;
      return;
    }
    this.error = error;
    this.host.cancel(this);
    this.wake();
  }

  private next(): Promise<Result> {
    const e = this.queue[this.head];
    if (e !== undefined) {
      this.take();
      return Promise.resolve({ done: false, value: e });
    }
    if (this.ended || this.closed) {
      const error = this.error;
      this.error = undefined; // told once; afterwards it is just over
      return error ? Promise.reject(error) : Promise.resolve(over);
    }
    if (this.waiter) return Promise.reject(new Error('a subscription has one reader'));
    return new Promise((resolve, reject) => {
      this.waiter = { resolve, reject };
    });
  }

  private take(): void {
    this.head++;
    if (this.head === this.queue.length) {
      this.queue.length = 0;
      this.head = 0;
    } else if (this.head >= 64 && 2 * this.head >= this.queue.length) {
      this.queue.splice(0, this.head);
      this.head = 0;
    }
    this.topUp();
  }

  private topUp(): void {
    if (++this.taken < (this.window + 1) >> 1 || this.ended) return;
    this.credit += this.taken;
    this.host.grant(this, this.taken);
    this.taken = 0;
  }

  private wake(): void {
    const w = this.waiter;
    if (!w) return;
    this.waiter = undefined;
    const error = this.error;
    this.error = undefined;
    if (error) w.reject(error);
    else w.resolve(over);
  }

  // What follows is the connection's to call.

  accept(body: Uint8Array): void {
    if (this.accepted) throw broken('accepted twice');
    this.accepted = true;
    this.answer = body;
  }

  event(f: Frame): void {
    const b = f.body;
    if (!this.accepted) throw broken('an event before the answer');
    if (b.length < 8) throw broken('an event carries its sequence');
    if (--this.credit < 0) throw broken('an event without credit');
    const seq = new DataView(b.buffer, b.byteOffset, 8).getBigUint64(0, true);
    if (seq <= this.seq) throw broken('events out of order');
    const skipped = Number(seq - this.seq - 1n);
    this.seq = seq;
    this.skipped += skipped;
    if (this.closed) return;
    // A copy: what waits must not hold a whole chunk of what was received.
    const e: Event = { seq, skipped, type: f.code, body: new Uint8Array(b.subarray(8)) };
    const w = this.waiter;
    if (!w) {
      this.queue.push(e);
      return;
    }
    this.waiter = undefined;
    this.topUp();
    w.resolve({ done: false, value: e });
  }

  /** The last frame, or the end of the connection. */
  end(error: RpcError | undefined, skipped: number): void {
    if (this.ended) return;
    this.ended = true;
    this.skipped += skipped;
    if (this.closed) return;
    this.error = error;
    this.wake();
  }
}
