import type { BoxInit, FixInit, FixT } from './gen/messages.js';
import { DeviceEvent, Has, Mark } from './gen/trk.js';

/** What a device can report beside its place. */
export type EventName = 'sos' | 'low_battery' | 'power_lost' | 'motion_start' | 'motion_stop' | 'tamper';

/** A number that this package does not know becomes "event_" and the number. */
type AnyEventName = EventName | `event_${number}`;

/** One position report. What the device did not know is absent. */
export interface Fix {
  /** 12 hex digits. */
  device: string;
  name: string;
  /** The device's own time, unix milliseconds. */
  time: number;
  /** When the server had it, unix milliseconds; absent where nobody says. */
  received?: number;
  /** Degrees. Both are there, or neither: then it is a heartbeat. */
  lat?: number;
  lon?: number;
  accuracyM?: number;
  /** Metres above mean sea level. */
  altM?: number;
  speedMps?: number;
  /** Degrees clockwise from north. */
  courseDeg?: number;
  batteryPct?: number;
  /** Runs on external power. */
  power?: true;
  event?: AnyEventName;
  /** It arrived after a newer one: history, not the present. */
  late?: true;
  /** The clock of the device ran ahead of the server's. */
  suspect?: true;
  /** Too far from the fix before to have been travelled. */
  jump?: true;
}

/** What a device says of itself. */
export type Report = Omit<Fix, 'device' | 'name' | 'received' | 'late' | 'suspect' | 'jump' | 'time'> & {
  /** Unix milliseconds. Default: now. */
  time?: number;
};

/** An area between two parallels and two meridians, in degrees, edges included. */
export interface Box {
  south: number;
  west: number;
  north: number;
  /** Less than west: the box crosses the antimeridian. */
  east: number;
}

const e7 = 1e7;
const externalPower = 0x80;
const unknownCharge = 127;
/** Centimetres; that or worse. */
const worstAccuracy = 507904;

const names = new Map<number, EventName>([
  [DeviceEvent.Sos, 'sos'],
  [DeviceEvent.LowBattery, 'low_battery'],
  [DeviceEvent.PowerLost, 'power_lost'],
  [DeviceEvent.MotionStart, 'motion_start'],
  [DeviceEvent.MotionStop, 'motion_stop'],
  [DeviceEvent.Tamper, 'tamper'],
]);

/** The id of a device as text, from the two halves that structs carry. */
export function deviceId(hi: number, lo: number): string {
  return hi.toString(16).padStart(4, '0') + lo.toString(16).padStart(8, '0');
}

/** Reads a fix as generated services give it. */
export function readFix(t: FixT, name = ''): Fix {
  const f: Fix = { device: deviceId(t.deviceHi, t.deviceLo), name, time: t.time };
  const { has, marks } = t;
  if (t.received !== 0) f.received = t.received;
  if (has & Has.Position) {
    f.lat = t.lat / e7;
    f.lon = t.lon / e7;
  }
  if (has & Has.Accuracy) f.accuracyM = t.accuracyCm / 100;
  if (has & Has.Altitude) f.altM = t.altM;
  if (has & Has.Velocity) {
    f.speedMps = t.speedCmps / 100;
    f.courseDeg = t.courseCdeg / 100;
  }
  if (has & Has.Battery) {
    const pct = t.battery & ~externalPower;
    if (pct !== unknownCharge) f.batteryPct = pct;
    if (t.battery & externalPower) f.power = true;
  }
  if (t.event !== DeviceEvent.None) f.event = names.get(t.event) ?? `event_${t.event}`;
  if (marks & Mark.Late) f.late = true;
  if (marks & Mark.Suspect) f.suspect = true;
  if (marks & Mark.Jump) f.jump = true;
  return f;
}

/** Reads the fixes of a page with their names beside them. */
export function readFixes(page: { fixes: FixT[]; names: string[] }): Fix[] {
  return page.fixes.map((f, i) => readFix(f, page.names[i]));
}

/** Writes a report as generated services take it. */
export function writeFix(r: Report): FixInit {
  const t: FixInit = { time: r.time ?? Date.now() };
  let has = 0;
  if (r.lat !== undefined && r.lon !== undefined) {
    has |= Has.Position;
    t.lat = Math.round(r.lat * e7);
    t.lon = Math.round(r.lon * e7);
  }
  if (r.accuracyM !== undefined) {
    has |= Has.Accuracy;
    t.accuracyCm = Math.min(Math.round(r.accuracyM * 100), worstAccuracy);
  }
  if (r.altM !== undefined) {
    has |= Has.Altitude;
    t.altM = Math.round(r.altM);
  }
  if (r.speedMps !== undefined || r.courseDeg !== undefined) {
    has |= Has.Velocity;
    t.speedCmps = Math.min(Math.round((r.speedMps ?? 0) * 100), 65535);
    t.courseCdeg = Math.round((((r.courseDeg ?? 0) % 360) + 360) * 100) % 36000;
  }
  if (r.batteryPct !== undefined || r.power) {
    has |= Has.Battery;
    t.battery = (r.batteryPct === undefined ? unknownCharge : Math.round(r.batteryPct)) | (r.power ? externalPower : 0);
  }
  if (r.event !== undefined) t.event = eventNumber(r.event);
  t.has = has;
  return t;
}

function eventNumber(name: string): DeviceEvent {
  for (const [n, s] of names) if (s === name) return n;
  const m = /^event_(\d+)$/.exec(name);
  if (!m) throw new RangeError(`event "${name}"`);
  return Number(m[1]);
}

/** A box as generated services take it, in 1e-7 degree. */
export function writeBox(b: Box): BoxInit {
  const n = (deg: number): number => Math.round(deg * e7);
  return { south: n(b.south), west: n(b.west), north: n(b.north), east: n(b.east) };
}
