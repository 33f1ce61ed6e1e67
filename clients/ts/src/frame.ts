import { broken } from './errors.js';
import { Status } from './status.js';

/** What a client sends first; a port that serves several protocols tells them apart by it. */
export const preamble = new Uint8Array([0x54, 0x52, 0x4b, 0x31]);

// The header, little endian:
//
//   0   u32  bits 0-23 length of the body, 24-27 kind, 28-31 flags
//   4   u32  id
//   8   u16  code    method | status | event type
//  10   u16  aux     timeout in ms | updates skipped
export const headerSize = 12;

export const Kind = {
  Hello: 0,
  Welcome: 1,
  Req: 2,
  Rsp: 3,
  Err: 4,
  Cancel: 5,
  Notify: 6,
  Event: 7,
  Credit: 8,
  End: 9,
  Ping: 10,
  Pong: 11,
  GoAway: 12,
} as const;

/** The body goes on in the next frame of this id. */
export const flagMore = 1;
/** A u16 length and that much metadata stand before the body. */
export const flagMeta = 2;

/** In the aux of a request: no deadline. */
export const noTimeout = 65535;

/** A longer message travels in frames of this size; so much also fits one WebSocket message. */
export const chunkSize = 64 << 10;

const maxBody = 0xffffff;
const nothing = new Uint8Array(0);

/** One frame. Its body may share memory with what was received; nobody writes there again. */
export class Frame {
  kind = 0;
  flags = 0;
  id = 0;
  code = 0;
  aux = 0;
  body: Uint8Array = nothing;
}

/**
 * Cuts what arrives into frames. It judges a header before the body is there, and
 * keeps no more than arrived: memory grows with the bytes, not with what a header
 * promises.
 */
export class Parser {
  private buf: Uint8Array = nothing;
  private own = false;
  private r = 0;
  private w = 0;

  constructor(
    /** Greatest length of a frame's body. */
    private readonly limit: number,
  ) {}

  /** Takes the next bytes. They belong to the parser from now on. */
  push(chunk: Uint8Array): void {
    const rest = this.w - this.r;
    if (rest === 0) {
      this.buf = chunk;
      this.own = false;
      this.r = 0;
      this.w = chunk.length;
      return;
    }
    if (!this.own || this.buf.length - this.w < chunk.length) {
      // A new one each time: frames that were handed out lie in the old one.
      const grown = new Uint8Array(Math.max(rest + chunk.length, 2 * rest));
      grown.set(this.buf.subarray(this.r, this.w));
      this.buf = grown;
      this.own = true;
      this.r = 0;
      this.w = rest;
    }
    this.buf.set(chunk, this.w);
    this.w += chunk.length;
  }

  /** Reads the next whole frame into f; false: there is none yet. Throws what ends the connection. */
  next(f: Frame): boolean {
    const { buf, r } = this;
    if (this.w - r < headerSize) return false;
    const n = buf[r]! | (buf[r + 1]! << 8) | (buf[r + 2]! << 16);
    const word = buf[r + 3]!;
    const kind = word & 15;
    const flags = word >> 4;
    if (kind > Kind.GoAway) throw broken('unknown kind of frame');
    if (flags & ~(flagMore | flagMeta)) throw broken('reserved flag');
    if (n > this.limit) throw broken('frame over the limit', Status.FrameTooLarge);
    const end = r + headerSize + n;
    if (this.w < end) return false;
    f.kind = kind;
    f.flags = flags;
    f.id = (buf[r + 4]! | (buf[r + 5]! << 8) | (buf[r + 6]! << 16) | (buf[r + 7]! << 24)) >>> 0;
    f.code = buf[r + 8]! | (buf[r + 9]! << 8);
    f.aux = buf[r + 10]! | (buf[r + 11]! << 8);
    f.body = buf.subarray(r + headerSize, end);
    this.r = end;
    return true;
  }

  /** Bytes of a frame that is not whole yet. */
  get left(): number {
    return this.w - this.r;
  }
}

/**
 * Frames on their way out, one behind the other. Where each frame of a WebSocket
 * message must end is noted as it is written.
 */
export class Output {
  private buf: Uint8Array = nothing;
  private at = 0;
  private messageAt = 0;
  private cuts: number[] = [];
  private usual = 1024;

  get length(): number {
    return this.at;
  }

  /** Appends bytes that are no frame: the preamble. */
  raw(b: Uint8Array): void {
    this.room(b.length);
    this.buf.set(b, this.at);
    this.at += b.length;
  }

  frame(kind: number, flags: number, id: number, code: number, aux: number, body: Uint8Array): void {
    const n = body.length;
    if (n > maxBody) throw new RangeError('frame of more than 16 MiB');
    this.room(headerSize + n);
    if (this.at + headerSize + n - this.messageAt > chunkSize && this.at > this.messageAt) {
      this.cuts.push(this.at);
      this.messageAt = this.at;
    }
    const b = this.buf;
    const p = this.at;
    b[p] = n;
    b[p + 1] = n >> 8;
    b[p + 2] = n >> 16;
    b[p + 3] = kind | (flags << 4);
    b[p + 4] = id;
    b[p + 5] = id >> 8;
    b[p + 6] = id >> 16;
    b[p + 7] = id >> 24;
    b[p + 8] = code;
    b[p + 9] = code >> 8;
    b[p + 10] = aux;
    b[p + 11] = aux >> 8;
    const from = p + headerSize;
    if (n <= 32) for (let i = 0; i < n; i++) b[from + i] = body[i]!;
    else b.set(body, from);
    this.at = from + n;
  }

  /** Appends a message, in several frames when it is longer than a frame may be. */
  message(kind: number, id: number, code: number, aux: number, body: Uint8Array, limit: number): void {
    const most = Math.min(limit, chunkSize);
    let at = 0;
    for (; body.length - at > most; at += most) {
      this.frame(kind, flagMore, id, code, aux, body.subarray(at, at + most));
    }
    this.frame(kind, 0, id, code, aux, at === 0 ? body : body.subarray(at));
  }

  /** Gives away what was written, and where its WebSocket messages end. */
  take(): { bytes: Uint8Array; cuts: readonly number[] } {
    const taken = { bytes: this.buf.subarray(0, this.at), cuts: this.cuts };
    this.usual = Math.min(Math.max(1024, this.at + (this.at >> 2), this.usual >> 1), 4 * chunkSize);
    this.buf = nothing;
    this.at = 0;
    this.messageAt = 0;
    if (this.cuts.length > 0) this.cuts = [];
    return taken;
  }

  private room(n: number): void {
    const need = this.at + n;
    if (need <= this.buf.length) return;
    const grown = new Uint8Array(Math.max(need, 2 * this.buf.length, this.usual));
    grown.set(this.buf.subarray(0, this.at));
    this.buf = grown;
  }
}
