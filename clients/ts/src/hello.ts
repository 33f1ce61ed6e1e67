// The bodies that the layer itself reads and writes, little endian. A reader ignores
// what follows the fields it knows.

import { RpcError } from './errors.js';
import { Status, mayHaveRun } from './status.js';

/** What a proof in the handshake is. */
export const AuthKind = { None: 0, Bearer: 1, DeviceKey: 2, Resume: 3 } as const;

/** Shows the server who is calling. */
export interface Proof {
  kind: number;
  bytes: Uint8Array;
}

export interface Hello {
  protoMin: number;
  protoMax: number;
  /** Longest body that this side takes. */
  maxFrame: number;
  schemaHash: bigint;
  features: number;
  /** Name and version, at most 255 bytes. */
  client: string;
  auth: Proof;
}

/** What holds on a connection, as the server said. */
export interface Welcome {
  proto: number;
  /** Longest body that the server takes. */
  maxFrame: number;
  connId: bigint;
  epoch: bigint;
  maxInflight: number;
  maxInflightBytes: number;
  maxSubs: number;
  maxCredit: number;
  /** Longest message in several frames. */
  maxMessage: number;
  idleMs: number;
  features: number;
  /** The server's clock, unix milliseconds. */
  now: number;
}

const helloSize = 24;
const welcomeSize = 64;
/** Least limit that a peer may announce: control frames must fit. */
const minFrame = 1 << 10;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength);

export function encodeHello(h: Hello): Uint8Array {
  const name = encoder.encode(h.client).subarray(0, 255);
  if (h.auth.bytes.length > 0xffff) throw new RpcError(Status.InvalidArgument, 'a proof of more than 64 KiB', { notRun: true });
  const b = new Uint8Array(helloSize + name.length + h.auth.bytes.length);
  const v = view(b);
  v.setUint16(0, h.protoMin, true);
  v.setUint16(2, h.protoMax, true);
  v.setUint32(4, h.maxFrame, true);
  v.setBigUint64(8, h.schemaHash, true);
  v.setUint32(16, h.features, true);
  v.setUint8(20, h.auth.kind);
  v.setUint8(21, name.length);
  v.setUint16(22, h.auth.bytes.length, true);
  b.set(name, helloSize);
  b.set(h.auth.bytes, helloSize + name.length);
  return b;
}

/** Reads a WELCOME; undefined: it is none. */
export function decodeWelcome(b: Uint8Array): Welcome | undefined {
  if (b.length < welcomeSize) return undefined;
  const v = view(b);
  const w: Welcome = {
    proto: v.getUint16(0, true),
    maxFrame: v.getUint32(4, true),
    connId: v.getBigUint64(8, true),
    epoch: v.getBigUint64(16, true),
    maxInflight: v.getUint32(24, true),
    maxInflightBytes: v.getUint32(28, true),
    maxSubs: v.getUint32(32, true),
    maxCredit: v.getUint32(36, true),
    maxMessage: v.getUint32(40, true),
    idleMs: v.getUint32(44, true),
    features: v.getUint32(48, true),
    now: Number(v.getBigUint64(56, true)),
  };
  return w.maxFrame >= minFrame && w.maxInflight > 0 ? w : undefined;
}

/**
 * Reads an error. A body that is empty or cut off is an error of which less is known,
 * never another error.
 */
export function decodeError(status: number, b: Uint8Array): RpcError {
  if (b.length < 5) return new RpcError(status);
  const v = view(b);
  const texts = ['', '', '', ''];
  for (let i = 0, at = 5; i < 4 && at + 2 <= b.length; i++) {
    const from = at + 2;
    at = from + v.getUint16(at, true);
    if (at > b.length) break;
    texts[i] = decoder.decode(b.subarray(from, at));
  }
  const [reason = '', detail = '', field = '', ref = ''] = texts;
  const notRun = (b[4]! & 1) !== 0;
  return new RpcError(status, detail, { reason, field, ref, retryAfterMs: v.getUint32(0, true), notRun });
}

/** Reads a GOAWAY. lastId is undefined when the server did not say it. */
export function decodeGoAway(status: number, b: Uint8Array): { lastId: number | undefined; error: RpcError } {
  if (b.length < 4) return { lastId: undefined, error: new RpcError(status, '', { notRun: !mayHaveRun(status) }) };
  return { lastId: view(b).getUint32(0, true), error: decodeError(status, b.subarray(4)) };
}
