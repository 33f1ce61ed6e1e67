#!/usr/bin/env node
// A device in another language: seals fixes as docs/protocol.md says, sends them by
// UDP, waits for the acks and verifies them. Prints a line of JSON for each report.
//
//   node testdata/sender.mjs --enrolment STRING --ack 48.137,11.575 48.138,11.576
//   echo '{"lat":48.137,"lon":11.575,"speed_mps":3.2}' | node testdata/sender.mjs --enrolment STRING --stdin
//
// A fix is LAT,LON or LAT,LON,TIME (RFC 3339; otherwise now), or a line of JSON with
// lat, lon, and perhaps time, alt_m, speed_mps, course_deg, accuracy_m, battery_pct,
// power, event.
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync, openSync, fsyncSync, closeSync, renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Device, Refused, accuracyCode, deriveKeys, encodeBody, openAck, parseEnrolment, sealReport } from './trk1.mjs';

const usage = `usage: node sender.mjs --enrolment STRING [options] LAT,LON[,TIME]…
  --stdin           fixes as lines of JSON on stdin
  --to HOST:PORT    send there instead of to the host of the enrolment
  --ack             ask for an ack of each report, wait for it, verify it
  --timeout MS      for how long to wait for an ack (2000)
  --trail           all fixes in one report, the last one as the newest
  --state FILE      remember epochs here, as a device with storage
  --counter         behave as a device without a clock (flag c; needs --state)
  --dry             send nothing
for tests, where they break the rules on purpose:
  --epoch N         use this epoch         --pid N    start with this packet id
  --repeat N        send the bytes of each report N more times
  --flip            then send them with each single bit flipped, one after the other
  --raw HEX         send these bytes and nothing else`;

function fail(message, code = 1) {
  console.error(`sender: ${message}`);
  process.exit(code);
}

let args;
try {
  const flag = { type: 'boolean', default: false }, text = { type: 'string' };
  args = parseArgs({
    allowPositionals: true,
    options: {
      enrolment: text, to: text, state: text, epoch: text, pid: text, raw: text,
      repeat: { type: 'string', default: '0' }, timeout: { type: 'string', default: '2000' },
      stdin: flag, ack: flag, trail: flag, counter: flag, dry: flag, flip: flag, help: flag,
    },
  });
} catch (e) {
  fail(`${e.message}\n${usage}`, 2);
}
const { values: opt, positionals } = args;
if (opt.help) {
  console.log(usage);
  process.exit(0);
}
if (!opt.enrolment) fail(`no --enrolment\n${usage}`, 2);

let enrolment;
try {
  enrolment = parseEnrolment(opt.enrolment);
} catch (e) {
  fail(`the enrolment string is not valid: ${e.message}`, 2);
}

// A fix in the units of people becomes one in the units of the body.
function fixOf(f) {
  if (!(Math.abs(f.lat) <= 90 && Math.abs(f.lon) <= 180)) fail(`not on the globe: ${f.lat},${f.lon}`, 2);
  const ms = f.time === undefined ? Date.now() : Date.parse(f.time);
  if (Number.isNaN(ms)) fail(`not a time: ${f.time}`, 2);
  const out = { time_ms: ms - (ms % 4), lat_e7: Math.round(f.lat * 1e7), lon_e7: Math.round(f.lon * 1e7) };
  if (f.alt_m !== undefined) out.alt_m = Math.max(-32768, Math.min(32767, Math.round(f.alt_m)));
  if (f.speed_mps !== undefined) {
    out.speed_cms = Math.min(65535, Math.round(f.speed_mps * 100));
    out.course_cdeg = Math.round((f.course_deg ?? 0) * 100) % 36000;
  }
  if (f.accuracy_m !== undefined) out.accuracy_code = accuracyCode(f.accuracy_m * 100);
  if (f.battery_pct !== undefined || f.power !== undefined) {
    if (f.battery_pct !== undefined) out.battery_pct = Math.round(f.battery_pct);
    out.power = f.power === true;
  }
  if (f.event !== undefined) out.event = f.event;
  return out;
}

function readFixes() {
  const fixes = positionals.map((p) => {
    const [lat, lon, time] = p.split(',');
    return { lat: Number(lat), lon: Number(lon), time };
  });
  if (opt.stdin) fixes.push(...readFileSync(0, 'utf8').split('\n').filter((l) => l.trim()).map((l) => JSON.parse(l)));
  return fixes.map(fixOf);
}

const SUB = 16;

// bodies are what the reports will say: each fix alone, or all in one trail.
function bodies(fixes) {
  const groups = opt.trail ? [[...fixes].reverse()] : fixes.map((f) => [f]);
  return groups.map((group) => encodeBody({
    fixes: group, ack: opt.ack, p: SUB, tp: group.length > 1 ? SUB : 0,
    tlvs: group[0].event ? [[3, Buffer.from([group[0].event]).toString('hex')]] : [],
  }));
}

// The epoch has to be on disk before the first report exists.
function durable(epoch) {
  const temporary = `${opt.state}.new`;
  writeFileSync(temporary, `${epoch}\n`);
  const fd = openSync(temporary, 'r');
  fsyncSync(fd);
  closeSync(fd);
  renameSync(temporary, opt.state);
}

function makeDevice() {
  let storage = null;
  if (opt.state) {
    storage = { epoch: 0 };
    try {
      storage.epoch = Number(readFileSync(opt.state, 'utf8'));
    } catch (e) {
      if (e.code !== 'ENOENT') throw e;
    }
  }
  const device = new Device(enrolment, storage, durable);
  if (opt.epoch !== undefined) {
    device.session = { id: enrolment.id, epoch: Number(opt.epoch), pid: 0, began: Date.now() / 1000 };
  }
  return device;
}

// nextHeader waits out the second that a device without storage must let pass.
async function nextHeader(device) {
  for (;;) {
    try {
      return device.next({ at: Math.floor(Date.now() / 1000), trusted: !opt.counter });
    } catch (e) {
      if (!(e instanceof Refused) || e.code !== 'too_soon') throw e;
      await sleep(1000 - (Date.now() % 1000));
    }
  }
}

const socket = createSocket(enrolment.address.includes(':') ? 'udp6' : 'udp4');
const inbox = [];
let wake = () => {};
socket.on('message', (pkt) => { inbox.push(pkt); wake(); });
socket.on('error', (e) => fail(e.message, 3));

function target() {
  if (!opt.to) return [enrolment.port, enrolment.address];
  const at = opt.to.lastIndexOf(':');
  return [Number(opt.to.slice(at + 1)), opt.to.slice(0, at).replace(/^\[|\]$/g, '')];
}
const [port, host] = target();
const send = (pkt) => new Promise((done, broken) => {
  if (opt.dry) return done();
  return socket.send(pkt, port, host, (e) => (e ? broken(e) : done()));
});

// waitForAck takes what arrives until the ack of this report is there or time is up.
// What does not verify is reported, and otherwise ignored as it has to be.
async function waitForAck(h, keys) {
  const until = Date.now() + Number(opt.timeout);
  const ignored = [];
  for (;;) {
    while (inbox.length > 0) {
      const pkt = inbox.shift();
      try {
        return { ...openAck(h, keys, pkt), hex: pkt.toString('hex') };
      } catch (e) {
        ignored.push(e.code ?? e.message);
      }
    }
    const left = until - Date.now();
    if (left <= 0) return ignored.length > 0 ? { ignored } : null;
    const timer = new AbortController();
    await Promise.race([sleep(left, null, timer).catch(() => {}), new Promise((r) => { wake = r; })]);
    timer.abort();
  }
}

async function sendAgain(pkt) {
  for (let i = 0; i < Number(opt.repeat); i++) await send(pkt);
  if (!opt.flip) return {};
  for (let bit = 0; bit < 8 * pkt.length; bit++) {
    const bad = Buffer.from(pkt);
    bad[bit >> 3] ^= 1 << (bit & 7);
    await send(bad);
    if (bit % 64 === 63) await sleep(1); // no burst that a socket would drop
  }
  return { flipped: 8 * pkt.length };
}

async function main() {
  if (opt.raw !== undefined) {
    await send(Buffer.from(opt.raw, 'hex'));
    console.log(JSON.stringify({ raw: opt.raw }));
    return true;
  }
  const fixes = readFixes();
  if (fixes.length === 0) fail(`no fixes\n${usage}`, 2);
  const device = makeDevice();
  let allAcked = true;
  for (const [i, body] of bodies(fixes).entries()) {
    const h = await nextHeader(device);
    if (i === 0 && opt.pid !== undefined) {
      h.pid = Number(opt.pid);
      device.session.pid = h.pid + 1;
    }
    const keys = deriveKeys(enrolment.root, h.suite, h.id, h.epoch);
    const pkt = sealReport(h, keys, body);
    const line = { id: h.id.toString('hex'), epoch: h.epoch, pid: h.pid, hex: pkt.toString('hex') };
    await send(pkt);
    if (opt.ack) {
      line.ack = await waitForAck(h, keys);
      allAcked &&= line.ack?.status !== undefined;
    }
    Object.assign(line, await sendAgain(pkt));
    console.log(JSON.stringify(line));
  }
  return allAcked;
}

main().then((ok) => {
  socket.close();
  process.exitCode = ok ? 0 : 1;
}, (e) => fail(e.message));
