import type { RawSubscription } from './caller.js';

/** One update, decoded. */
export interface Update<E> {
  /** Counts every update, those that never came included. */
  seq: bigint;
  /** Updates before this one that will never come. */
  skipped: number;
  value: E;
}

/**
 * An open subscription. It has one reader, and the server sends no more than a window
 * ahead of it. Iteration ends when the server ends the subscription or close is called,
 * and throws an RpcError when it failed. Leaving the loop closes the subscription.
 */
export class Subscription<A, E> implements AsyncIterable<Update<E>> {
  constructor(
    private readonly raw: RawSubscription,
    /** What the server answered when it opened the subscription. */
    readonly answer: A,
    private readonly decode: (body: Uint8Array) => E,
  ) {}

  /** Updates so far that will never come. */
  get skipped(): number {
    return this.raw.skipped;
  }

  close(): void {
    this.raw.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Update<E>, void, undefined> {
    for await (const e of this.raw) {
      yield { seq: e.seq, skipped: e.skipped, value: this.decode(e.body) };
    }
  }
}
