// The packed base map, for a page that draws it: coasts, borders, land and cities, out of
// the very files that the terminal map is drawn from. docs/basemap.md has their layout.
//
//   const level = decodeLevel(await unpack(await (await fetch('world-110m.bin.gz')).arrayBuffer()));
//   for (let a = 0; a < level.kind.length; a++)
//     for (let i = level.first[a]; i < level.first[a + 1]; i++) lineTo(level.x[i], level.y[i]);
//
// Plain JavaScript without dependencies, for browsers and Node from 20 on. It is strict:
// bytes that are no such file throw a RangeError that says what is wrong, and nothing is
// allocated that the bytes at hand cannot fill.

export const COAST = 0;
export const BORDER = 1;

/** Whom the map is owed to: this belongs on every picture of it. */
export const CREDITS = 'Natural Earth · GeoNames';

/** Where the square of Web Mercator ends, in degrees. */
export const MAX_LAT = 85.0511287798066;

/** The side of the square, in steps. x wraps; y is 0 in the north. */
export const TURN = 2 ** 32;

/** More than any file of the map has, unpacked. */
export const LIMIT = 1 << 20;

/**
 * Gunzips a file of the map.
 * @param {ArrayBuffer | Uint8Array} gz
 * @param {number} limit bytes at most; more throw before they are kept
 * @returns {Promise<Uint8Array>}
 */
export async function unpack(gz, limit = LIMIT) {
  const reader = new Blob([gz]).stream().pipeThrough(new DecompressionStream('gzip')).getReader();
  const out = new Uint8Array(limit);
  let n = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return out.slice(0, n);
    if (n + value.length > limit) {
      await reader.cancel();
      throw new RangeError(`more than ${limit} bytes`);
    }
    out.set(value, n);
    n += value.length;
  }
}

/** Puts a place on the square: whole steps, as the terminal has them, or one off. */
export function project(lat, lon) {
  const sin = Math.sin((Math.min(Math.max(lat, -MAX_LAT), MAX_LAT) * Math.PI) / 180);
  const y = Math.floor((0.5 - Math.log((1 + sin) / (1 - sin)) / (4 * Math.PI)) * TURN);
  const x = Math.floor(((lon + 180) / 360) * TURN) % TURN;
  return { x: x < 0 ? x + TURN : x, y: Math.min(Math.max(y, 0), TURN - 1) };
}

class Reader {
  constructor(bytes) {
    this.b = bytes;
    this.at = 0;
  }

  get left() {
    return this.b.length - this.at;
  }

  magic(want) {
    for (const c of want) {
      if (this.left < 1 || this.b[this.at++] !== c.charCodeAt(0)) throw new RangeError(`not a ${want.slice(0, 4)} file of version 1`);
    }
  }

  take(n) {
    if (n > this.left) throw new RangeError('truncated');
    this.at += n;
    return this.b.subarray(this.at - n, this.at);
  }

  float() {
    const b = this.take(8);
    return new DataView(b.buffer, b.byteOffset, 8).getFloat64(0, true);
  }

  /** LEB128 of at most five bytes: all numbers of the map are far below 2³⁵. */
  uint() {
    let v = 0;
    for (let shift = 1, i = 0; i < 5; i++, shift *= 128) {
      if (this.left < 1) throw new RangeError('truncated');
      const byte = this.b[this.at++];
      v += (byte & 127) * shift;
      if (byte < 128) return v;
    }
    throw new RangeError('a number of more than five bytes');
  }

  int() {
    const v = this.uint();
    return v % 2 === 0 ? v / 2 : -(v + 1) / 2;
  }

  /** How many things follow, each of at least so many bytes. */
  count(bytes = 1) {
    const n = this.uint();
    if (n * bytes > this.left) throw new RangeError('truncated');
    return n;
  }

  end() {
    if (this.left > 0) throw new RangeError(`${this.left} bytes left over`);
  }
}

/**
 * A level of detail. Arc a is points first[a] up to first[a + 1], of kind[a]. x and y are
 * steps of the square. Ring r is references refs[r]; see ring.
 * @typedef {{kind: Uint8Array, first: Uint32Array, x: Uint32Array, y: Uint32Array,
 *   steps: [Int32Array, Int32Array], scale: [number, number], origin: [number, number],
 *   refs: Int32Array[]}} Level
 */

/**
 * Reads world-110m.bin or world-50m.bin, unpacked. It takes about ten milliseconds.
 * @param {Uint8Array} bytes
 * @returns {Level}
 */
export function decodeLevel(bytes) {
  const r = new Reader(bytes);
  r.magic('TRKW\x01');
  const scale = [r.float(), r.float()];
  const origin = [r.float(), r.float()];
  if (![...scale, ...origin].every(Number.isFinite)) throw new RangeError('no scale');

  const narcs = r.count();
  const kind = new Uint8Array(narcs);
  const first = new Uint32Array(narcs + 1);
  for (let a = 0; a < narcs; a++) {
    const n = r.uint();
    kind[a] = n % 4;
    const points = Math.floor(n / 4);
    // Each point takes at least one byte for x and one for y.
    if (points < 2 || 2 * (first[a] + points) > r.left) throw new RangeError(`arc ${a} has ${points} points`);
    first[a + 1] = first[a] + points;
  }
  const total = first[narcs];
  const steps = [new Int32Array(total), new Int32Array(total)];
  for (const axis of steps) {
    for (let a = 0; a < narcs; a++) {
      for (let i = first[a], step = 0; i < first[a + 1]; i++) {
        step += r.int();
        if (Math.abs(step) > 0x7fffffff) throw new RangeError(`arc ${a} leaves the world`);
        axis[i] = step;
      }
    }
  }
  const x = new Uint32Array(total);
  const y = new Uint32Array(total);
  for (let i = 0; i < total; i++) {
    const lon = origin[0] + scale[0] * steps[0][i];
    const lat = origin[1] + scale[1] * steps[1][i];
    if (!(Math.abs(lon) <= 180.001 && Math.abs(lat) <= 90.001)) throw new RangeError(`point ${i} is at ${lat}, ${lon}`);
    ({ x: x[i], y: y[i] } = project(lat, lon));
  }
  const level = { kind, first, x, y, steps, scale, origin, refs: [] };
  let room = total; // an arc is the outline of one piece of land: rings cannot grow beyond that
  for (let n = r.count(); n > 0; n--) {
    const refs = new Int32Array(r.count());
    for (let i = 0; i < refs.length; i++) {
      const ref = r.int();
      if (ref >= narcs || ~ref >= narcs) throw new RangeError(`a ring refers to arc ${Math.max(ref, ~ref)} of ${narcs}`);
      room -= first[Math.max(ref, ~ref) + 1] - first[Math.max(ref, ~ref)];
      if (room < 0) throw new RangeError('rings of more points than there are');
      refs[i] = ref;
    }
    if (refs.length > 0) level.refs.push(refs);
  }
  r.end();
  return level;
}

/**
 * The outline of a piece of land, ready to be filled by even and odd. xs do not wrap: they
 * go on beyond the sides of the square wherever the ring crosses the date line, so a page
 * draws it at x, x + TURN and x - TURN, as far as these are in sight. A ring that goes
 * once round the pole is closed along the lower edge of the square. It is null for a ring
 * without an inside.
 * @param {Level} level
 * @returns {{xs: number[], ys: number[]} | null}
 */
export function ring(level, index) {
  const xs = [];
  const ys = [];
  const add = (i) => {
    const px = level.x[i];
    xs.push(xs.length === 0 ? px : xs.at(-1) + ((px - xs.at(-1)) | 0)); // the shorter way
    ys.push(level.y[i]);
  };
  for (const ref of level.refs[index]) {
    if (ref >= 0) for (let i = level.first[ref]; i < level.first[ref + 1]; i++) add(i);
    else for (let i = level.first[~ref + 1] - 1; i >= level.first[~ref]; i--) add(i);
  }
  const extent = (of) => of.reduce((most, v) => Math.max(most, v), -Infinity) - of.reduce((least, v) => Math.min(least, v), Infinity);
  if (extent(xs) === 0 || extent(ys) === 0) return null;
  if (Math.abs(xs.at(-1) - xs[0]) > TURN / 2) {
    xs.push(xs.at(-1), xs[0]);
    ys.push(TURN - 1, TURN - 1);
  }
  return { xs, ys };
}

/**
 * Reads cities.bin, unpacked: the largest cities, largest first.
 * @param {Uint8Array} bytes
 * @returns {{name: string, x: number, y: number}[]}
 */
export function decodeCities(bytes) {
  const r = new Reader(bytes);
  r.magic('TRKC\x01');
  const n = r.count(4);
  const columns = [0, 1, 2, 3].map(() => r.take(n));
  const names = new TextDecoder('utf-8', { fatal: true }).decode(r.take(r.left)).split('\n');
  if (n > 0 ? names.length !== n : names[0] !== '') throw new RangeError(`${names.length} names for ${n} cities`);
  const fraction = (high, low, i) => (columns[high][i] * 256 + columns[low][i]) / 65535;
  return Array.from({ length: n }, (_, i) => ({
    name: names[i],
    ...project(fraction(2, 3, i) * 180 - 90, fraction(0, 1, i) * 360 - 180),
  }));
}
