import { RpcError, aborted } from './errors.js';
import { onAbort } from './signals.js';
import { Status } from './status.js';

/** What a transport tells its connection. */
export interface TransportHandler {
  /** Bytes arrived; their memory is the handler's from now on. */
  data(chunk: Uint8Array): void;
  /** Less than before waits to leave. */
  drained(): void;
  /** Nothing follows. Called once, also after close. */
  closed(cause?: Error): void;
}

/** Carries bytes both ways, in order, until it is closed. */
export interface Transport {
  /** Every chunk that arrives holds whole frames. */
  readonly whole: boolean;
  /** Bytes that were sent and have not left yet. */
  readonly buffered: number;
  /** Says who listens. What arrived before is told then. */
  start(h: TransportHandler): void;
  /** Sends bytes, which are the transport's from now on. Messages end at cuts, and at the end. */
  send(bytes: Uint8Array, cuts: readonly number[]): void;
  close(): void;
}

/** What this package uses of a browser's WebSocket; other implementations have it, too. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly protocol: string;
  readonly readyState: number;
  onopen: ((e: never) => unknown) | null;
  onmessage: ((e: never) => unknown) | null;
  onerror: ((e: never) => unknown) | null;
  onclose: ((e: never) => unknown) | null;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  /** Of some implementations: ends it without the server's word. */
  terminate?(): void;
}

export type WebSocketConstructor = new (url: string, protocols: string) => WebSocketLike;

/** The subprotocol: frames as of docs/rpc.md in binary messages. */
export const subprotocol = 'trk.v1';

/** Where a tracker serves RPC when an address names no path. */
export const defaultPath = '/v1/rpc';

/** How often a WebSocket with much to send is asked whether it has less. */
const pollMs = 5;
const much = 256 << 10;
/** How long a server may take to say goodbye. */
const lingerMs = 1_000;

/** Frames in the binary messages of a WebSocket. */
export class WebSocketTransport implements Transport {
  readonly whole = true;
  private handler: TransportHandler | undefined;
  private early: Uint8Array[] = [];
  private over = false;
  private failure: Error | undefined;
  private unread = false; // what follows is nobody's
  private poll: ReturnType<typeof setTimeout> | undefined;
  private leaving: ReturnType<typeof setTimeout> | undefined;

  private constructor(private readonly ws: WebSocketLike) {}

  /** Connects. url names the path, too. */
  static open(url: string, ctor: WebSocketConstructor, signal: AbortSignal): Promise<WebSocketTransport> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(aborted(signal, true));
      let ws: WebSocketLike;
      try {
        ws = new ctor(url, subprotocol);
      } catch (err) {
        return reject(unreachable(url, String(err), err)); // a page by https may not open ws://
      }
      ws.binaryType = 'arraybuffer';
      const t = new WebSocketTransport(ws);
      const fail = (err: RpcError): void => {
        deaf();
        ws.onopen = ws.onclose = ws.onmessage = null;
        ws.onerror = () => undefined;
        ws.close();
        reject(err);
      };
      const deaf = onAbort(signal, () => fail(aborted(signal, true)));
      const refused = 'the connection was refused or lost'; // browsers say no more
      ws.onerror = (e: { message?: string }) => fail(unreachable(url, e.message || refused));
      ws.onclose = () => fail(unreachable(url, refused));
      ws.onmessage = (e: { data: unknown }) => t.message(e.data);
      ws.onopen = () => {
        if (ws.protocol !== subprotocol) return fail(unreachable(url, `the server does not speak ${subprotocol}`));
        deaf();
        ws.onerror = (e: { message?: string }) => {
          t.failure ??= new Error(e.message ?? 'the connection broke');
        };
        ws.onclose = (e: { code?: number; reason?: string }) => t.ended(e);
        resolve(t);
      };
    });
  }

  get buffered(): number {
    return this.ws.bufferedAmount;
  }

  start(h: TransportHandler): void {
    this.handler = h;
    const early = this.early;
    this.early = [];
    for (const chunk of early) h.data(chunk);
    if (this.over) h.closed(this.failure);
  }

  send(bytes: Uint8Array, cuts: readonly number[]): void {
    if (this.over) return;
    const ws = this.ws;
    let from = 0;
    for (const to of cuts) {
      ws.send(bytes.subarray(from, to) as Uint8Array<ArrayBuffer>);
      from = to;
    }
    ws.send(bytes.subarray(from) as Uint8Array<ArrayBuffer>);
    this.watch(ws.bufferedAmount);
  }

  close(): void {
    clearTimeout(this.poll);
    this.poll = undefined;
    if (this.over || this.leaving !== undefined) return;
    this.ws.close(1000);
    // A server that is gone does not say goodbye.
    this.leaving = setTimeout(() => {
      this.ws.terminate?.();
      this.ended({});
    }, lingerMs);
  }

  // A WebSocket does not tell when it has sent something, so it is asked.
  private watch(before: number): void {
    if (this.poll !== undefined || before < much || this.over) return;
    this.poll = setTimeout(() => {
      this.poll = undefined;
      const now = this.ws.bufferedAmount;
      if (now < before) this.handler?.drained();
      this.watch(now);
    }, pollMs);
  }

  private message(data: unknown): void {
    if (this.unread) return;
    if (!(data instanceof ArrayBuffer)) {
      this.unread = true;
      this.failure = new Error('a message that is not binary');
      this.close(); // without 1003, which browsers do not let anybody say
      return;
    }
    const chunk = new Uint8Array(data);
    if (this.handler) this.handler.data(chunk);
    else this.early.push(chunk);
  }

  private ended(e: { code?: number; reason?: string }): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.poll);
    clearTimeout(this.leaving);
    if (e.reason) this.failure ??= new Error(`${e.reason} (${e.code})`);
    this.handler?.closed(this.failure);
  }
}

/** Nobody answers at an address. */
export function unreachable(where: string, detail: string, cause?: unknown): RpcError {
  return new RpcError(Status.Unavailable, `cannot reach ${where}: ${detail}`, { notRun: true, cause });
}
