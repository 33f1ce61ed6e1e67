import type { Builder } from 'flatbuffers';

/** A method as the schema has it. */
export interface MethodInfo {
  id: number;
  service: string;
  name: string;
  stream: boolean;
  /** Having it twice is the same as once. */
  idempotent: boolean;
  /** Type of a stream's events on the wire. */
  event: number;
  /** When the caller asks for none; 0: the client's. */
  timeoutMs: number;
}

export interface CallOptions {
  signal?: AbortSignal;
  /** Default: the method's, or the client's. */
  timeoutMs?: number;
}

export interface SubscribeOptions {
  /** Ends the opening, and afterwards the subscription. */
  signal?: AbortSignal;
  /** Updates that may wait here to be taken. Default: the client's. */
  window?: number;
}

/** One update of a subscription, its body still encoded. */
export interface Event {
  /** Counts every update, those that never came included. */
  seq: bigint;
  /** Updates before this one that will never come. */
  skipped: number;
  type: number;
  body: Uint8Array;
}

/** A subscription before its bodies are decoded. It has one reader. */
export interface RawSubscription extends AsyncIterable<Event> {
  /** What the server answered when it opened the subscription. */
  readonly answer: Uint8Array;
  /** Asks the server to end it; iteration ends at once. */
  close(): void;
  /** Updates so far that will never come. */
  skipped: number;
}

/**
 * What generated services call. A body is copied before call and subscribe return, so
 * that one builder serves all calls.
 */
export interface Caller {
  call(m: MethodInfo, body: Uint8Array, o?: CallOptions): Promise<Uint8Array>;
  subscribe(m: MethodInfo, body: Uint8Array, o?: SubscribeOptions): Promise<RawSubscription>;
  /** An empty builder, good until the next one is asked for. */
  builder(): Builder;
}
