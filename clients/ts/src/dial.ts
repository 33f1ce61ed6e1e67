import { RpcError } from './errors.js';
import type { Dial } from './line.js';
import { Status } from './status.js';
import { WebSocketTransport, defaultPath, type WebSocketConstructor } from './transport.js';

/** How to reach a WebSocket address. */
export function webSocketDial(address: string, given?: WebSocketConstructor): Dial {
  const url = webSocketUrl(address);
  const ctor = given ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  if (!ctor) throw new RpcError(Status.InvalidArgument, 'no WebSocket here: pass one with the option WebSocket');
  return (signal) => WebSocketTransport.open(url, ctor, signal);
}

function webSocketUrl(address: string): string {
  let url: URL;
  try {
    url = new URL(address);
  } catch (cause) {
    throw new RpcError(Status.InvalidArgument, `address "${address}" is not a URL`, { cause });
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new RpcError(Status.InvalidArgument, `address "${address}": want ws:// or wss://`);
  }
  if (url.pathname === '/' || url.pathname === '') url.pathname = defaultPath;
  url.hash = '';
  return url.href;
}
