import { createHash } from 'node:crypto';
import { connect as connectNet, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions as TlsConnectOptions, type TLSSocket } from 'node:tls';
import { RpcError, aborted } from './errors.js';
import { untrusted } from './line.js';
import { onAbort } from './signals.js';
import { Status } from './status.js';
import type { TlsOptions } from './tls.js';
import { type Transport, type TransportHandler, unreachable } from './transport.js';

const empty = new Uint8Array(0);

/** Frames over TCP or TLS. */
export class SocketTransport implements Transport {
  readonly whole = false;
  private handler: TransportHandler | undefined;
  private failure: Error | undefined;
  private over = false;

  constructor(private readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.pause();
    socket.on('error', (err) => (this.failure ??= err));
    socket.on('close', () => {
      this.over = true;
      this.handler?.closed(this.failure);
    });
  }

  get buffered(): number {
    return this.socket.writableLength;
  }

  start(h: TransportHandler): void {
    this.handler = h;
    if (this.over) return h.closed(this.failure);
    // A Buffer's own slice does not copy: nobody behind this meets one.
    this.socket.on('data', (c: Uint8Array) => h.data(new Uint8Array(c.buffer, c.byteOffset, c.length)));
    this.socket.on('drain', () => h.drained());
    this.socket.on('end', () => this.socket.destroy());
    this.socket.resume();
  }

  send(bytes: Uint8Array): void {
    if (!this.over && bytes.length > 0) this.socket.write(bytes);
  }

  close(): void {
    if (this.over || this.socket.destroyed) return;
    // What was sent just now leaves first, unless nobody takes it.
    this.socket.end(empty, () => this.socket.destroy());
    setTimeout(() => this.socket.destroy(), 1_000).unref();
  }
}

/** A host and a port; an IPv6 address stands in brackets. */
export function splitAddress(address: string): { host: string; port: number } {
  const m = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(address);
  const port = Number(m?.[3]);
  if (!m || port < 1 || port > 65535) throw new RpcError(Status.InvalidArgument, `address "${address}": want HOST:PORT`);
  return { host: m[1] ?? (m[2] || '127.0.0.1'), port };
}

/** Connects by TCP, or with tls by TLS. */
export function dialSocket(address: string, tls: TlsOptions | undefined, signal: AbortSignal): Promise<SocketTransport> {
  const { host, port } = splitAddress(address);
  const pin = tls?.fingerprint === undefined ? undefined : parseFingerprint(tls.fingerprint);
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted(signal, true));
    const socket = tls ? connectTls(tlsOptions(host, port, tls)) : connectNet({ host, port });
    const clear = (): void => {
      deaf();
      socket.removeListener('error', onError);
    };
    const fail = (err: RpcError): void => {
      clear();
      socket.on('error', () => undefined);
      socket.destroy();
      reject(err);
    };
    const onError = (err: Error): void => fail(unreachable(address, err.message || String(err), err));
    const deaf = onAbort(signal, () => fail(aborted(signal, true)));
    socket.on('error', onError);
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      const wrong = tls && judge(socket as TLSSocket, pin, address);
      if (wrong) return fail(wrong);
      const t = new SocketTransport(socket);
      clear();
      resolve(t);
    });
  });
}

function tlsOptions(host: string, port: number, o: TlsOptions): TlsConnectOptions {
  const name = o.servername ?? (isIP(host) ? undefined : host);
  // Who answered is judged below, when it has shown that it holds the key of its
  // certificate and before anything is sent.
  const t: TlsConnectOptions = { host, port, minVersion: 'TLSv1.2', rejectUnauthorized: false };
  if (name !== undefined) t.servername = name;
  if (o.ca !== undefined) t.ca = [o.ca].flat().map((pem) => (typeof pem === 'string' ? pem : Buffer.from(pem)));
  return t;
}

function parseFingerprint(text: string): string {
  const m = /^sha256:((?:[0-9a-f]{2}:?){31}[0-9a-f]{2})$/i.exec(text);
  if (!m) throw new RpcError(Status.InvalidArgument, `fingerprint "${text}": want sha256: and 64 hex digits`);
  return `sha256:${m[1]!.replaceAll(':', '').toLowerCase()}`;
}

function fingerprintOf(socket: TLSSocket): string {
  const raw = socket.getPeerCertificate().raw as Uint8Array | undefined;
  return raw ? `sha256:${createHash('sha256').update(raw).digest('hex')}` : 'none';
}

function judge(socket: TLSSocket, pin: string | undefined, address: string): RpcError | undefined {
  const got = fingerprintOf(socket);
  if (pin !== undefined) {
    return got === pin ? undefined : stranger(`${address} shows the certificate ${got}, want ${pin}`);
  }
  if (socket.authorized) return undefined;
  return stranger(`${address} shows the certificate ${got}, which nobody known vouches for: ${String(socket.authorizationError)}`);
}

const stranger = (detail: string): RpcError => new RpcError(Status.Unauthenticated, detail, { reason: untrusted, notRun: true });
