import assert from 'node:assert/strict';
import test from 'node:test';
import { Builder } from 'flatbuffers';
import * as m from '#dist/gen/messages.js';
import * as v from '#dist/gen/verify.js';
import { mulberry, toHex } from './root.js';

type Codec = { name: string; verify(b: Uint8Array): boolean; decode(b: Uint8Array): unknown; encode(b: Builder, v: never): Uint8Array };

const codecs: Codec[] = Object.entries(v).map(([key, verify]) => {
  const name = key.replace('verify', '');
  const all = m as unknown as Record<string, never>;
  return { name, verify: verify as (b: Uint8Array) => boolean, decode: all[`decode${name}`]!, encode: all[`encode${name}`]! };
});
const codec = (name: string): Codec => codecs.find((c) => c.name === name)!;

const fix: m.FixInit = { time: 1.7e12, deviceLo: 0xfedcba98, deviceHi: 0xffff, has: 31, lat: -1, lon: 1, altM: -3, battery: 0xff };
const device: m.DeviceInit = {
  id: '0123456789ab', name: 'van', state: 'active', alarms: ['a', 'bc'], credentials: [{ id: 'x', suite: 1 }, {}], last: fix,
};
const samples: Record<string, object> = {
  SumReq: { a: 1, b: -2 },
  SumRsp: { sum: 7 },
  Empty: {},
  EchoReq: { payload: new Uint8Array([1, 2, 3, 4, 5]) },
  SubReq: { topic: 'grüße' },
  Published: { key: 4_000_000_000, value: -5 },
  LatestReq: { devices: ['a', '', 'ccc'] },
  NearReq: { at: { lat: 1, lon: 2 }, withinM: 3.5, limit: 4 },
  NearReply: { fixes: [fix], names: ['n'], distances: [{ metres: 1, bearingDeg: 2 }] },
  WatchReq: { area: { box: { south: 1, west: 2, north: 3, east: 4 }, devices: ['d'] }, resumeEpoch: 'e', resumePosition: 9 },
  WatchFrame: { kind: 2, more: true, stream: 3, epoch: 'ffff', position: 12, fixes: [fix, fix, {}], names: ['a', 'b', ''], left: ['c'] },
  DeviceList: { devices: [device, device], next: 'n' },
  EnrollReply: { devices: [{ device, enrolment: 'trk1:abc' }] },
  StatusReply: { version: 'v', ingest: [{ name: 'n', value: 1 }], store: { state: 'ok' }, alarms: [{ time: 1, kind: 'k' }], probe: { ok: true } },
  TokenList: { tokens: [{ id: 'i', name: 'n', role: 'r' }, {}] },
  ReportReq: { device: 'van', fixes: [fix, fix] },
};

const bytes = (name: string, value: object): Uint8Array => codec(name).encode(new Builder(64), value as never).slice();

for (const [name, value] of Object.entries(samples)) {
  test(`${name} comes back as it went`, () => {
    const b = bytes(name, value);
    assert.ok(codec(name).verify(b));
    const got = codec(name).decode(b);
    assert.deepEqual(codec(name).decode(bytes(name, got as object)), got);
    const part = (g: unknown, w: unknown): void => {
      if (w === null || typeof w !== 'object') return assert.deepEqual(g, w);
      for (const [k, e] of Object.entries(w)) part((g as Record<string, unknown>)[k], e);
    };
    part(got, value);
  });
}

function mutate(b: Uint8Array, random: () => number): Uint8Array {
  const n = (most: number): number => Math.floor(random() * most);
  let out = b.slice();
  for (let i = 1 + n(4); i > 0; i--) {
    const at = n(out.length);
    switch (n(6)) {
      case 0:
        out[at] = n(256);
        break;
      case 1:
        out[at]! ^= 1 << n(8);
        break;
      case 2:
        out = out.slice(0, at);
        break;
      case 3:
        new DataView(out.buffer).setUint32(Math.min(at, out.length - 4), [0, 1, 0x7fffffff, 0x80000000, 0xffffffff, n(out.length)][n(6)]!, true);
        break;
      case 4:
        out.copyWithin(at, n(out.length));
        break;
      default: {
        const longer = new Uint8Array(out.length + 1 + n(16));
        longer.set(out);
        out = longer;
      }
    }
    if (out.length < 4) break;
  }
  return out;
}

test('whatever is done to a body, it is refused or can be read', { timeout: 120_000 }, () => {
  const random = mulberry(20261122);
  const seeds = Object.entries(samples).map(([name, value]) => bytes(name, value));
  let good = 0;
  const rounds = Number(process.env['VERIFY_ROUNDS'] ?? 12_000);
  for (let round = 0; round < rounds; round++) {
    const b = mutate(seeds[round % seeds.length]!, random);
    // Its own table, and three others that it was not meant for.
    const own = codec(Object.keys(samples)[round % seeds.length]!);
    const others = [0, 1, 2].map(() => codecs[Math.floor(random() * codecs.length)]!);
    for (const c of [own, ...others]) {
      try {
        const ok: unknown = c.verify(b);
        assert.equal(typeof ok, 'boolean');
        if (!ok) continue;
        good++;
        c.decode(b);
      } catch (e) {
        assert.fail(`${c.name} of ${toHex(b)}: ${String(e)}`);
      }
    }
  }
  assert.ok(good > 100, `only ${good} were good`);
});

test('every verifier refuses what is nothing or cut off', () => {
  for (const c of codecs) {
    for (let n = 0; n < 8; n++) assert.equal(c.verify(new Uint8Array(n)), false, `${c.name} takes ${n} bytes`);
  }
  for (const [name, value] of Object.entries(samples)) {
    const b = bytes(name, value);
    for (let n = 0; n < b.length; n++) {
      if (codec(name).verify(b.subarray(0, n))) codec(name).decode(b.subarray(0, n));
    }
  }
});

test('a body is read wherever it lies in memory', () => {
  for (const [name, value] of Object.entries(samples)) {
    const b = bytes(name, value);
    const want = codec(name).decode(b);
    for (let off = 1; off < 8; off++) {
      const moved = new Uint8Array(b.length + off).fill(0xff);
      moved.set(b, off);
      assert.ok(codec(name).verify(moved.subarray(off)));
      assert.deepEqual(codec(name).decode(moved.subarray(off)), want);
    }
  }
});

test('offsets that the runtime would read as negative are refused', () => {
  const far = (slot: number): Uint8Array => {
    const b = new Uint8Array(1 << 16);
    const d = new DataView(b.buffer);
    d.setUint32(0, 12, true);
    d.setUint16(4, 6, true);
    d.setUint16(8, slot, true);
    d.setUint32(12, 8, true);
    d.setUint32(12 + slot, 4, true); // to a text of no bytes
    return b;
  };
  assert.ok(v.verifySubReq(far(0x7ffc)));
  assert.equal(m.decodeSubReq(far(0x7ffc)).topic, '');
  assert.equal(v.verifySubReq(far(0x8000)), false);

  const at = 1 << 14; // of the vtable, behind its table
  const long = (length: number): Uint8Array => {
    const b = new Uint8Array(at + (1 << 15));
    const d = new DataView(b.buffer);
    d.setUint32(0, 4, true);
    d.setInt32(4, 4 - at, true);
    d.setUint16(at, length, true);
    d.setUint16(at + 4, 8, true);
    d.setUint32(12, 4, true);
    return b;
  };
  assert.ok(v.verifySubReq(long(0x7ffe)));
  assert.equal(m.decodeSubReq(long(0x7ffe)).topic, '');
  assert.equal(v.verifySubReq(long(0x8000)), false);
});
