/**
 * For Node: everything of the main entry, and connections over TCP and TLS.
 */
import { Client, connect as connectWebSocket, type ConnectOptions as WebSocketOptions } from './client.js';
import { RpcError } from './errors.js';
import { dialSocket } from './socket.js';
import { Status } from './status.js';
import type { TlsOptions } from './tls.js';

export * from './index.js';
export type { TlsOptions } from './tls.js';

export interface ConnectOptions extends WebSocketOptions {
  /** How to know the server; true: by Node's authorities. Absent: no TLS, unless the address says tls://. Not for WebSockets. */
  tls?: TlsOptions | boolean;
}

/** Connects to HOST:PORT by TCP, or by TLS with the option tls. */
export function connectTcp(address: string, o: ConnectOptions = {}): Promise<Client> {
  const tls = o.tls === true ? {} : o.tls || undefined;
  return Client.open((signal) => dialSocket(address, tls, signal), o);
}

const unheeded = (address: string): RpcError =>
  new RpcError(Status.InvalidArgument, `address "${address}": a WebSocket does not heed the option tls; use tls://HOST:PORT`, { notRun: true });

/** Connects to HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, ws:// or wss://. */
export function connect(address: string, o: ConnectOptions = {}): Promise<Client> {
  const m = /^([a-z]+):\/\/(.*?)\/?$/i.exec(address);
  switch (m?.[1]?.toLowerCase()) {
    case undefined:
      return connectTcp(address, o);
    case 'tcp':
      return connectTcp(m![2]!, o);
    case 'tls':
      return connectTcp(m![2]!, { ...o, tls: o.tls || true });
    default:
      return o.tls ? Promise.reject(unheeded(address)) : connectWebSocket(address, o);
  }
}
