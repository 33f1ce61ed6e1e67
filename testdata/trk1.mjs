// Datagram v1 in JavaScript, written from docs/protocol.md and sharing nothing with
// the Go code: the cryptography is Node's. The section numbers are those of the page.
import { createHmac, createCipheriv, createDecipheriv, timingSafeEqual } from 'node:crypto';
import { isIPv6 } from 'node:net';

// Refused carries the name under which the server counts a refusal.
export class Refused extends Error {
  constructor(code, detail = '') {
    super(detail ? `${code}: ${detail}` : code);
    this.code = code;
  }
}
const refuse = (code, detail) => { throw new Refused(code, detail); };

// --- 2. Enrolment string

const name = /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$/;

export function parseEnrolment(text) {
  const bad = (why) => refuse('bad_enrolment', why);
  if (text.length > 400) bad('too long');
  const m = /^https:\/\/(\[[^\]/]*\]|[^:/[\]]*)(?::([0-9]*))?\/d#1\.([\w-]{8})\.([\w-]{43})\.([12])(?:\.(c?p?m?))?$/.exec(text);
  if (!m || text.endsWith('\n')) bad('not of the form https://HOST[:PORT]/d#1.ID.ROOT.SUITE[.FLAGS]');
  const [, host, port, id64, root64, suite, flags] = m;
  if (host.startsWith('[') ? !isIPv6(host.slice(1, -1)) || host.includes('%') : !name.test(host)) bad('host');
  if (port !== undefined && (!/^[1-9][0-9]*$/.test(port) || Number(port) > 65535)) bad('port');
  if (flags === '') bad('empty flags');
  const id = Buffer.from(id64, 'base64url'), root = Buffer.from(root64, 'base64url');
  if (root.toString('base64url') !== root64) bad('spare bits');
  if (id.every((b) => b === 0) || root.every((b) => b === 0)) bad('all zero');
  return { host: port === undefined ? host : `${host}:${port}`, address: host.replace(/^\[|\]$/g, ''), port: Number(port ?? 4810), id, root, suite: Number(suite), flags: flags ?? '' };
}

// --- 3. Keys

const hmac = (key, ...parts) => parts.reduce((h, p) => h.update(p), createHmac('sha256', key)).digest();

const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };

export function deriveKeys(root, suite, id, epoch) {
  const info = Buffer.concat([Buffer.from('trk1'), Buffer.from([0x10 | suite]), id, u32(epoch)]);
  const t1 = hmac(root, info, Buffer.from([1]));
  const t2 = hmac(root, t1, info, Buffer.from([2]));
  return { info, okm: Buffer.concat([t1, t2]), up: suite === 1 ? t1 : t1.subarray(0, 16), ack: t2 };
}

export function rotatingID(root, window) {
  return hmac(hmac(root, 'trk1 rotating id', Buffer.from([1])), u32(window)).subarray(0, 6);
}

// --- 4. Report

const cipherName = { 1: 'chacha20-poly1305', 2: 'aes-128-gcm' };
const tagLength = { authTagLength: 16 };

function header(kind, h) {
  const b = Buffer.alloc(14);
  b[0] = 0x10 | kind | h.suite;
  h.id.copy(b, 1);
  b.writeUInt32BE(h.epoch, 7);
  b.writeUIntBE(h.pid, 11, 3);
  return b;
}

const readHeader = (b) => ({ suite: b[0] & 7, id: b.subarray(1, 7), epoch: b.readUInt32BE(7), pid: b.readUIntBE(11, 3) });

export function sealReport(h, keys, body) {
  const head = header(0, h);
  const c = createCipheriv(cipherName[h.suite], keys.up, head.subarray(2), tagLength);
  c.setAAD(head, { plaintextLength: body.length });
  return Buffer.concat([head, c.update(body), c.final(), c.getAuthTag()]);
}

// openReport is the server of one device: { suite, id, root }.
export function openReport(device, pkt) {
  if (pkt.length < 43 || pkt.length > 1200) refuse('bad_len');
  if (pkt[0] !== 0x11 && pkt[0] !== 0x12) refuse('bad_version');
  const h = readHeader(pkt);
  if (!h.id.equals(device.id)) refuse('unknown_id');
  if (h.suite !== device.suite) refuse('bad_suite');
  const keys = deriveKeys(device.root, h.suite, h.id, h.epoch);
  const head = pkt.subarray(0, 14), box = pkt.subarray(14, -16);
  const d = createDecipheriv(cipherName[h.suite], keys.up, head.subarray(2), tagLength);
  d.setAAD(head, { plaintextLength: box.length });
  d.setAuthTag(pkt.subarray(-16));
  try {
    return { header: h, keys, body: Buffer.concat([d.update(box), d.final()]) };
  } catch {
    return refuse('auth_fail');
  }
}

// --- 5. Body

const ALT = 1, VEL = 2, ACC = 4, BAT = 8, SUB = 16, TRAIL = 32, TLVS = 64, ACK = 128;
const MAX_LAT = 900000000, HALF = 1800000000, FULL = 3600000000, TURN = 36000;

class Reader {
  constructor(b) { this.b = b; this.at = 0; }
  take(n) {
    if (this.at + n > this.b.length) refuse('malformed', 'ends early');
    this.at += n;
    return this.b.subarray(this.at - n, this.at);
  }
  u8() { return this.take(1)[0]; }
  varint() {
    let v = 0;
    for (let i = 0; i < 6; i++) {
      const c = this.u8();
      v += (c & 127) * 2 ** (7 * i);
      if (c < 128) {
        if (c === 0 && i > 0) refuse('malformed', 'spare byte');
        return v;
      }
    }
    return refuse('malformed', 'long number');
  }
  zigzag() {
    const u = this.varint();
    return u % 2 ? -(u + 1) / 2 : u / 2;
  }
  get left() { return this.b.length - this.at; }
}

const check = (ok, why) => ok || refuse('malformed', why);

// decodeBody gives { ack, fixes, tlvs } as the vectors have them, and p and tp, the
// presence bytes, for an encoder that wants to say the same again.
export function decodeBody(b) {
  const r = new Reader(b);
  const p = r.u8(), f = { time_ms: r.take(4).readUInt32BE() * 1000 };
  const lat = r.take(4).readInt32BE(), lon = r.take(4).readInt32BE();
  if (lat === -0x80000000) {
    check(lon === 0, 'longitude of no position');
    check(!(p & TRAIL), 'trail without position');
  } else {
    check(Math.abs(lat) <= MAX_LAT && Math.abs(lon) <= HALF, 'place');
    Object.assign(f, { lat_e7: lat, lon_e7: lon });
  }
  if (p & ALT) f.alt_m = r.take(2).readInt16BE();
  if (p & VEL) {
    f.speed_cms = r.take(2).readUInt16BE();
    f.course_cdeg = r.take(2).readUInt16BE();
    check(f.course_cdeg < TURN, 'course');
  }
  if (p & ACC) f.accuracy_code = r.u8();
  if (p & BAT) {
    const c = r.u8(), percent = c & 127;
    check(percent <= 100 || percent === 127, 'battery');
    if (percent !== 127) f.battery_pct = percent;
    f.power = c > 127;
  }
  if (p & SUB) {
    const sub = r.u8();
    check(sub < 250, 'sub-second');
    f.time_ms += 4 * sub;
  }
  const out = { ack: (p & ACK) !== 0, fixes: [f], p, tp: 0 };
  if (p & TRAIL) readTrail(r, out);
  if (p & TLVS) readTLVs(r, out);
  check(r.left === 0, 'bytes left over');
  return out;
}

function readTrail(r, out) {
  const count = r.u8(), tp = out.tp = r.u8();
  check(count > 0, 'empty trail');
  check((tp & ~(ALT | VEL | ACC | SUB)) === 0 && (tp & ~out.p) === 0, 'TP');
  for (let i = 0; i < count; i++) {
    const newer = out.fixes[i], f = { time_ms: newer.time_ms - r.varint() * (tp & SUB ? 4 : 1000) };
    check(f.time_ms >= 0, 'before 1970');
    f.lat_e7 = newer.lat_e7 + r.zigzag();
    check(Math.abs(f.lat_e7) <= MAX_LAT, 'over the pole');
    const dlon = r.zigzag();
    check(dlon > -HALF && dlon <= HALF, 'the long way round');
    f.lon_e7 = newer.lon_e7 + dlon;
    if (f.lon_e7 > HALF) f.lon_e7 -= FULL;
    if (f.lon_e7 < -HALF) f.lon_e7 += FULL;
    if (newer.alt_m !== undefined) f.alt_m = newer.alt_m;
    if (tp & ALT) {
      f.alt_m += r.zigzag();
      check(f.alt_m >= -32768 && f.alt_m <= 32767, 'altitude');
    }
    if (tp & VEL) {
      f.speed_cms = newer.speed_cms + r.zigzag();
      check(f.speed_cms >= 0 && f.speed_cms <= 65535, 'speed');
      const turn = r.zigzag();
      check(turn > -TURN / 2 && turn <= TURN / 2, 'turn');
      f.course_cdeg = (newer.course_cdeg + turn + TURN) % TURN;
    }
    if (tp & ACC) f.accuracy_code = r.u8();
    out.fixes.push(f);
  }
}

const tlvLength = { 1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 1, 9: 4, 10: 17, 11: 2, 12: 4 };

function readTLVs(r, out) {
  out.tlvs = [];
  const seen = new Set();
  do {
    const type = r.u8(), value = r.take(r.u8());
    if (type in tlvLength) check(value.length === tlvLength[type], 'TLV length');
    if (type >= 128 && type <= 254) check(value.length >= 2, 'vendor');
    if (type >= 1 && type <= 12) check(!seen.has(type), 'TLV twice');
    seen.add(type);
    if (type === 3 && value[0] !== 0) out.fixes[0].event = value[0];
    if (type === 8) {
      try {
        new TextDecoder('utf-8', { fatal: true }).decode(value);
      } catch {
        refuse('malformed', 'text');
      }
    }
    out.tlvs.push([type, value.toString('hex')]);
  } while (r.left > 0);
}

function varint(n) {
  const out = [];
  for (; n > 127; n = Math.floor(n / 128)) out.push((n % 128) + 128);
  return [...out, n];
}
const zigzag = (v) => varint(v < 0 ? -2 * v - 1 : 2 * v);

function shortWay(d, full) {
  while (d > full / 2) d -= full;
  while (d <= -full / 2) d += full;
  return d;
}

// encodeBody is the opposite. SUB in p and all of tp are the caller's choice, as
// they cannot be seen from the values; the rest of p follows from what is there.
export function encodeBody({ fixes, tlvs = [], ack = false, p = 0, tp = 0 }) {
  const f = fixes[0];
  p = (p & SUB) | (f.alt_m !== undefined && ALT) | (f.speed_cms !== undefined && VEL) | (f.accuracy_code !== undefined && ACC)
    | (f.power !== undefined && BAT) | (fixes.length > 1 && TRAIL) | (tlvs.length > 0 && TLVS) | (ack && ACK);
  const b = Buffer.alloc(22);
  let n = b.writeUInt8(p);
  n = b.writeUInt32BE(Math.floor(f.time_ms / 1000), n);
  n = b.writeInt32BE(f.lat_e7 ?? -0x80000000, n);
  n = b.writeInt32BE(f.lon_e7 ?? 0, n);
  if (p & ALT) n = b.writeInt16BE(f.alt_m, n);
  if (p & VEL) n = b.writeUInt16BE(f.course_cdeg, b.writeUInt16BE(f.speed_cms, n));
  if (p & ACC) n = b.writeUInt8(f.accuracy_code, n);
  if (p & BAT) n = b.writeUInt8((f.battery_pct ?? 127) | (f.power ? 128 : 0), n);
  if (p & SUB) n = b.writeUInt8(Math.floor((f.time_ms % 1000) / 4), n);
  const parts = [b.subarray(0, n)];
  if (p & TRAIL) parts.push(Buffer.from([fixes.length - 1, tp, ...fixes.slice(1).flatMap((f, i) => entry(f, fixes[i], tp))]));
  for (const [type, hex] of tlvs) {
    const v = Buffer.from(hex, 'hex');
    parts.push(Buffer.from([type, v.length]), v);
  }
  return Buffer.concat(parts);
}

function entry(f, newer, tp) {
  const unit = tp & SUB ? 4 : 1000, ticks = (g) => Math.floor(g.time_ms / unit);
  return [
    ...varint(ticks(newer) - ticks(f)),
    ...zigzag(f.lat_e7 - newer.lat_e7),
    ...zigzag(shortWay(f.lon_e7 - newer.lon_e7, FULL)),
    ...(tp & ALT ? zigzag(f.alt_m - newer.alt_m) : []),
    ...(tp & VEL ? [...zigzag(f.speed_cms - newer.speed_cms), ...zigzag(shortWay(f.course_cdeg - newer.course_cdeg, TURN))] : []),
    ...(tp & ACC ? [f.accuracy_code] : []),
  ];
}

export function accuracyCM(code) {
  const e = code >> 4, m = code & 15;
  return e === 0 ? m : (16 + m) * 2 ** (e - 1);
}

export function accuracyCode(cm) {
  let code = 0;
  while (code < 255 && accuracyCM(code) < cm) code++;
  return code;
}

// --- 6. Ack

export function makeAck(h, keys, a) {
  const b = Buffer.alloc(24);
  header(8, h).copy(b);
  b[14] = a.status;
  b.writeUInt32BE(a.time, 15);
  b.writeUIntBE(a.max, 19, 3);
  b.writeUInt16BE(a.bitmap, 22);
  return Buffer.concat([b, hmac(keys.ack, b).subarray(0, 16)]);
}

// openAck verifies an ack for a device that waits for the report with header h.
export function openAck(h, keys, pkt) {
  if (pkt.length !== 40) refuse('bad_len');
  if (pkt[0] !== 0x19 && pkt[0] !== 0x1a) refuse('bad_version');
  if (!header(8, h).equals(pkt.subarray(0, 14))) refuse('not_pending');
  if (!timingSafeEqual(hmac(keys.ack, pkt.subarray(0, 24)).subarray(0, 16), pkt.subarray(24))) refuse('auth_fail');
  return { status: pkt[14], time: pkt.readUInt32BE(15), max: pkt.readUIntBE(19, 3), bitmap: pkt.readUInt16BE(22) };
}

// --- 7. Rules for the device

const FIRST_EPOCH = 1735689600; // 2025: before it, only counted epochs

// Device decides under which id, epoch and pid the next report goes. Its storage is
// an object { epoch } that outlives it, or null; write(epoch) has to be durable.
export class Device {
  constructor({ id, root, suite, flags }, storage, write = (epoch) => { storage.epoch = epoch; }) {
    Object.assign(this, { id, root, suite, flags, storage, write, last: 0 });
  }

  // next uses up a pid. clock is { at, trusted } in unix seconds.
  next(clock) {
    const now = this.bestTime(clock);
    if (this.isOver(clock, now)) this.open(clock, now);
    return { suite: this.suite, id: this.session.id, epoch: this.session.epoch, pid: this.session.pid++ };
  }

  // bestTime is the unix time as far as anybody knows it, or 0.
  bestTime(clock) {
    const ours = clock.trusted ? clock.at : 0;
    return Math.max(ours, this.hint ? this.hint.time + clock.at - this.hint.at : 0);
  }

  isOver(clock, now) {
    const s = this.session;
    return !s || s.pid > 0xffffff || clock.at - s.began >= 86400
      || (this.flags.includes('p') && now > 0 && Math.floor(now / 65536) > Math.floor(s.epoch / 65536));
  }

  open(clock, now) {
    const rotating = this.flags.includes('p');
    if (rotating && now === 0) refuse('no_clock');
    const epoch = this.last = this.storage ? this.stored(now) : this.unstored(now);
    if (epoch < FIRST_EPOCH && !this.flags.includes('c')) refuse('no_clock');
    if (rotating && Math.floor(epoch / 65536) > Math.floor(now / 65536) + 1) refuse('no_epoch');
    const id = rotating ? rotatingID(this.root, Math.floor(epoch / 65536)) : this.id;
    this.session = { id, epoch, pid: 0, began: clock.at };
  }

  stored(now) {
    const epoch = Math.max(this.storage.epoch + 1, now, this.last + 1);
    if (epoch > 0xffffffff) refuse('no_epoch');
    this.write(epoch);
    return epoch;
  }

  // Without storage the second of the start passes in silence, see rule 3.
  unstored(now) {
    if (now === 0) refuse('no_clock');
    this.silent ??= now;
    const epoch = Math.max(now, this.last + 1);
    if (now < epoch || now <= this.silent) refuse('too_soon');
    return epoch;
  }

  // epochTooOld is what status 2 says; clock is ours, time the server's.
  epochTooOld(clock, time) {
    this.hint = { time, at: clock.at };
    this.session = null;
  }
}

// --- 8. Rules of the server

export class Window {
  constructor(recovered) {
    this.seen = new Set();
    this.max = recovered ?? -1;
    this.floor = recovered ?? -1; // up to here everything counts as seen
  }
  take(pid) {
    if (pid <= this.max - 64) return 'too_old';
    if (pid <= this.floor || this.seen.has(pid)) return 'replay';
    this.seen.add(pid);
    this.max = Math.max(this.max, pid);
    return 'ok';
  }
  bitmap() {
    let bits = 0;
    for (let i = 0; i < 16; i++) {
      const pid = this.max - i;
      if (pid <= this.floor ? this.floor >= 0 : this.seen.has(pid)) bits |= 0x8000 >> i;
    }
    return bits;
  }
}

export class Epochs {
  constructor(floor = 0, live = []) {
    this.floor = floor;
    this.live = live.map((l) => ({ epoch: l.epoch, window: new Window(l.max_pid) })); // newest first
  }
  take(epoch, pid) {
    const slot = this.live.find((l) => l.epoch === epoch);
    if (slot) return slot.window.take(pid);
    if (epoch < this.floor || this.live.some((l) => l.epoch > epoch)) return 'epoch_old';
    const opened = { epoch, window: new Window() };
    this.live = [opened, ...this.live].slice(0, 2);
    return opened.window.take(pid);
  }
}
