#!/usr/bin/env node
// Checks testdata/vectors.json with an implementation that shares nothing with the
// Go code, see trk1.mjs.
//
//   node testdata/check-vectors.mjs [vectors.json]
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import {
  Refused, parseEnrolment, deriveKeys, rotatingID, sealReport, openReport, decodeBody, encodeBody,
  accuracyCM, accuracyCode, makeAck, openAck, Device, Window, Epochs,
} from './trk1.mjs';

const hex = (s) => Buffer.from(s, 'hex');

function same(what, got, want) {
  if (!isDeepStrictEqual(got, want)) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

// outcome is what a function returns, or the name of its refusal.
function outcome(f) {
  try {
    return f();
  } catch (e) {
    if (e instanceof Refused) return e.code;
    throw e;
  }
}

function keysOf(v) {
  const k = deriveKeys(hex(v.root), v.suite, hex(v.id), v.epoch);
  same('info', k.info.toString('hex'), v.info);
  same('okm', k.okm.toString('hex'), v.okm);
  return k;
}

const checks = {
  keys: keysOf,

  rotating_id(v) {
    same('window', Math.floor(v.epoch / 65536), v.window);
    same('id', rotatingID(hex(v.root), v.window).toString('hex'), v.id);
  },

  report(v) {
    const keys = keysOf(v), wire = hex(v.wire);
    const h = { suite: v.suite, id: hex(v.id), epoch: v.epoch, pid: v.pid };
    same('wire', sealReport(h, keys, hex(v.plaintext)).toString('hex'), v.wire);
    same('aad', wire.subarray(0, 14).toString('hex'), v.aad);
    same('nonce', wire.subarray(2, 14).toString('hex'), v.nonce);
    const device = { suite: v.suite, id: hex(v.id), root: hex(v.root) };
    same('plaintext', openReport(device, wire).body.toString('hex'), v.plaintext);
    if (v.error) return same('error', outcome(() => { decodeBody(hex(v.plaintext)); return 'ok'; }), v.error);

    const { p, tp, ...body } = decodeBody(hex(v.plaintext));
    same('body', body, v.body);
    same('encoded again', encodeBody({ ...body, p, tp }).toString('hex'), v.plaintext);
    if (!body.ack || wire.length > 60) return;
    for (let bit = 0; bit < 8 * wire.length; bit++) {
      const bad = Buffer.from(wire);
      bad[bit >> 3] ^= 1 << (bit & 7);
      if (typeof outcome(() => openReport(device, bad)) !== 'string') throw new Error(`opens with bit ${bit} flipped`);
    }
  },

  datagram(v) {
    const device = { suite: v.suite, id: hex(v.id), root: hex(v.root) };
    same('result', outcome(() => openReport(device, hex(v.wire)) && 'ok'), v.error);
  },

  ack(v) {
    const keys = keysOf(v), h = { suite: v.suite, id: hex(v.id), epoch: v.epoch, pid: v.pid };
    same('ack', outcome(() => openAck(h, keys, hex(v.wire))), v.error ?? v.ack);
    if (!v.error) same('made again', makeAck(h, keys, v.ack).toString('hex'), v.wire);
  },

  accuracy(v) {
    same('codes', v.cm.length, 256);
    v.cm.forEach((cm, code) => same(`code ${code}`, accuracyCM(Math.min(code, 254)), cm));
    v.encode.forEach(({ cm, code }) => same(`${cm} cm`, accuracyCode(cm), code));
  },

  window(v) {
    const w = new Window(v.recovered);
    v.steps.forEach((s, i) => same(`step ${i}, pid ${s.pid}`, w.take(s.pid), s.result));
    same('max', w.max, v.max);
    same('bitmap', w.bitmap(), v.bitmap);
  },

  epochs(v) {
    const e = new Epochs(v.floor, v.live);
    v.steps.forEach((s, i) => same(`step ${i}, epoch ${s.epoch}, pid ${s.pid}`, e.take(s.epoch, s.pid), s.result));
  },

  device(v) {
    const enrolment = { id: hex(v.id), root: hex(v.root), suite: v.suite, flags: v.flags };
    const storage = v.storage ? { epoch: 0 } : null;
    let device, clock, cut;
    const write = (epoch) => {
      if (cut === 'before_write') throw new Refused('power_cut');
      storage.epoch = epoch;
      if (cut === 'after_write') throw new Refused('power_cut');
    };
    v.steps.forEach((s, i) => {
      if (s.do === 'boot' || s.do === 'clock') clock = { at: s.clock, trusted: s.trusted };
      if (s.do === 'boot') device = new Device(enrolment, storage, write);
      if (s.do === 'restore') storage.epoch = s.stored;
      if (s.do === 'skip') device.session.pid = s.pid;
      if (s.do === 'ack' && s.status === 2) device.epochTooOld(clock, s.time);
      if (s.do !== 'send') return;
      cut = s.cut;
      const h = outcome(() => device.next(clock));
      if (s.result !== 'ok' || typeof h === 'string') return same(`step ${i}`, h, s.result);
      same(`step ${i}`, { id: h.id.toString('hex'), epoch: h.epoch, pid: h.pid }, { id: s.id, epoch: s.epoch, pid: s.pid });
    });
  },

  enrolment(v) {
    const e = outcome(() => parseEnrolment(v.text));
    if (v.error || typeof e === 'string') return same('result', e, v.error);
    same('fields', { host: e.host, id: e.id.toString('hex'), root: e.root.toString('hex'), suite: e.suite, flags: e.flags },
      { host: v.host, id: v.id, root: v.root, suite: v.suite, flags: v.flags });
  },
};

const file = process.argv[2] ?? new URL('vectors.json', import.meta.url);
const { format, vectors } = JSON.parse(readFileSync(file, 'utf8'));
same('format', format, 1);
let failed = 0;
for (const v of vectors) {
  try {
    if (!checks[v.kind]) throw new Error(`unknown kind ${v.kind}`);
    checks[v.kind](v);
  } catch (e) {
    failed++;
    console.error(`${v.name}: ${e.message}`);
  }
}
if (failed > 0) {
  console.error(`${failed} of ${vectors.length} vectors do not hold`);
  process.exit(1);
}
console.log(`${vectors.length} vectors hold`);
