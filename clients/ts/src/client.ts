import type { CallOptions, Caller } from './caller.js';
import { webSocketDial } from './dial.js';
import type { SessionInfoT } from './gen/messages.js';
import { Services, schemaHash } from './gen/services.js';
import type { Welcome } from './hello.js';
import { Line, type Dial, type LineOptions } from './line.js';
import type { WebSocketConstructor } from './transport.js';
import { LiveWatch, type Area, type WatchOptions } from './watch.js';

export interface ConnectOptions extends LineOptions {
  /** Where the platform has none, or another one is wanted. */
  WebSocket?: WebSocketConstructor;
}

/**
 * The services of a server over one connection, which is opened again when it breaks.
 * Calls made meanwhile wait within their time; a call that certainly did not run, or may
 * run twice, is made once more.
 */
export class Client extends Services {
  private readonly line: Line;

  private constructor(line: Line) {
    super(line);
    this.line = line;
  }

  /** What other generated services can be put on, such as those of a newer schema. */
  get caller(): Caller {
    return this.line;
  }

  /** Connects by what dial opens. */
  static async open(dial: Dial, o: LineOptions): Promise<Client> {
    return new Client(await Line.open(dial, o, schemaHash));
  }

  /** What the server said that holds; undefined while there is no connection. */
  get welcome(): Welcome | undefined {
    return this.line.welcome;
  }

  /** Watches an area, over as many connections as it takes. Begins with the iteration. */
  watchAll(area: Area, o?: WatchOptions): LiveWatch {
    return new LiveWatch(this.line, area, o);
  }

  /** Goes on with another token, now and on every later connection. */
  async useToken(token: string, o?: CallOptions): Promise<SessionInfoT> {
    const info = await this.session.refresh({ token }, o);
    this.line.useToken(token);
    return info;
  }

  /** Ends everything and waits until nothing is left. Calls in flight fail with Canceled; watches just end. */
  close(): Promise<void> {
    return this.line.close();
  }
}

/** Connects to ws://HOST:PORT or wss://HOST:PORT. Without a path it is that of the server's RPC. */
export function connect(url: string, o: ConnectOptions = {}): Promise<Client> {
  return Promise.resolve().then(() => Client.open(webSocketDial(url, o.WebSocket), o));
}
