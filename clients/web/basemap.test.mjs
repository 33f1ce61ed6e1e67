// Holds the reader of the base map to what the terminal map reads out of the same files.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { BORDER, MAX_LAT, TURN, decodeCities, decodeLevel, project, ring, unpack } from './basemap.mjs';

const world = new URL('../../pkg/tui/world/', import.meta.url);
const read = (name) => readFileSync(new URL(name, world));
const written = JSON.parse(read('testdata/packed.json'));
const packed = Object.fromEntries(['world-110m', 'world-50m', 'cities'].map((n) => [n, new Uint8Array(gunzipSync(read(`${n}.bin.gz`)))]));
const sum = (values) => values.reduce((a, v) => a + v, 0); // below 2⁵³: 2¹⁷ points of 2³²

// Whole steps of the square may come out one off: two libraries need not agree on the last
// bit of a logarithm.
const close = (got, want, points, what) => assert.ok(Math.abs(got - want) <= points, `${what}: ${got}, want ${want}`);

function holds(level) {
  const rings = level.refs.map((_, i) => ring(level, i)).filter((r) => r !== null);
  const steps = new DataView(new ArrayBuffer(8 * level.x.length));
  level.x.forEach((_, i) => {
    const lat = Math.min(Math.max(level.origin[1] + level.scale[1] * level.steps[1][i], -MAX_LAT), MAX_LAT);
    const lon = level.origin[0] + level.scale[0] * level.steps[0][i]; // 180 is the step of -180
    steps.setInt32(8 * i, level.steps[0][i] - (lon >= 180 ? Math.round(360 / level.scale[0]) : 0), true);
    steps.setInt32(8 * i + 4, Math.round((lat - level.origin[1]) / level.scale[1]), true);
  });
  return {
    arcs: level.kind.length,
    borders: level.kind.filter((k) => k === BORDER).length,
    points: level.x.length,
    rings: rings.length,
    refs: sum(level.refs.map((r) => r.length)),
    wound: rings.filter((r) => r.ys.at(-1) === TURN - 1 && r.ys.at(-2) === TURN - 1 && r.xs.at(-1) === r.xs[0]).length,
    steps: createHash('sha256').update(new Uint8Array(steps.buffer)).digest('hex'),
  };
}

for (const name of ['world-110m', 'world-50m']) {
  test(`${name} holds what the terminal map reads in it`, () => {
    const level = decodeLevel(packed[name]);
    const { sum_x: x, sum_y: y, ...want } = written[name];
    assert.deepEqual(holds(level), want);
    close(sum([...level.x]), x, level.x.length, 'sum of x');
    close(sum([...level.y]), y, level.y.length, 'sum of y');
  });

  // The rules for the date line and the pole: with them even and odd tell land from sea.
  test(`${name} tells land from sea`, () => {
    const level = decodeLevel(packed[name]);
    const rings = level.refs.map((_, i) => ring(level, i)).filter((r) => r !== null);
    const land = (lat, lon) => {
      const p = project(lat, lon);
      let inside = false;
      for (const { xs, ys } of rings) {
        for (const shift of [-TURN, 0, TURN]) {
          for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
            if (ys[i] > p.y === ys[j] > p.y) continue;
            if (p.x + shift < xs[i] + ((p.y - ys[i]) / (ys[j] - ys[i])) * (xs[j] - xs[i])) inside = !inside;
          }
        }
      }
      return inside;
    };
    for (const [place, lat, lon, want] of [
      ['Bavaria', 48.5, 11.5, true], ['Kansas', 38.5, -98, true], ['Australia', -25, 134, true], ['Greenland', 75, -40, true],
      ['Chukotka east of 180', 66.3, -175, true], ['Chukotka west of 180', 67.5, 178, true], ['the Bering Sea', 58, -178, false],
      ['the Pacific at the date line', 20, 180, false], ['the Atlantic', 30, -40, false], ['the Caspian', 41.5, 51, false],
      ['Antarctica at 0', -82, 0, true], ['Antarctica at 150', -80, 150, true], ['Antarctica at -120', -80, -120, true],
      ['the Southern Ocean', -58, 100, false], ['the Arctic Ocean', 84.5, 0, false],
    ]) assert.equal(land(lat, lon), want, place);
  });
}

test('cities are those of the terminal map', () => {
  const cities = decodeCities(packed.cities);
  const want = written.cities;
  assert.equal(cities.length, want.count);
  assert.equal(cities[0].name, want.first);
  assert.equal(cities.at(-1).name, want.last);
  assert.equal(createHash('sha256').update(cities.map((c) => c.name).join('\n')).digest('hex'), want.names);
  close(sum(cities.map((c) => c.x)), want.sum_x, cities.length, 'sum of x');
  close(sum(cities.map((c) => c.y)), want.sum_y, cities.length, 'sum of y');
});

test('the projection ends at the edges and begins anew at the date line', () => {
  assert.deepEqual(project(0, 0), { x: TURN / 2, y: TURN / 2 });
  assert.deepEqual(project(90, -180), { x: 0, y: 0 });
  assert.deepEqual(project(-90, 180), { x: 0, y: TURN - 1 });
  assert.equal(project(10, -180.5).x, project(10, 179.5).x);
});

const bytes = (...parts) => Uint8Array.from(parts.flatMap((p) => (typeof p === 'string' ? [...Buffer.from(p, 'latin1')] : p)));
const doubles = (...values) => [...new Uint8Array(new Float64Array(values).buffer)];
const header = ['TRKW\x01', doubles(0.1, 0.1, -180, -90)];
const huge = [0xff, 0xff, 0xff, 0xff, 0x0f]; // 2³² - 1

test('the example of the documentation is read as it says', () => {
  const page = readFileSync(new URL('../../docs/basemap.md', import.meta.url), 'utf8');
  const block = page.split('```').find((b) => b.includes('54 52 4b 57'));
  const hex = block.split('\n').map((l) => /^(?:[0-9a-f]{2} )+/.exec(l)?.[0] ?? '').join('');
  const level = decodeLevel(Uint8Array.from(hex.trim().split(' '), (b) => parseInt(b, 16)));
  assert.deepEqual(level.steps.map((s) => [...s]), [[1900, 2000, 1950, 1900], [1300, 1300, 1350, 1300]]);
  assert.deepEqual([level.scale, level.origin, [...level.kind]], [[0.1, 0.1], [-180, -90], [0]]);
  assert.deepEqual(level.refs, [Int32Array.of(-1)]);
  assert.deepEqual(ring(level, 0).ys, [...level.y].reverse());
});

// Whatever a file claims, what is taken for it is bounded by what it is.
test('a hostile file is refused before anything is allocated for it', () => {
  const whole = bytes(...header, [1, 4 << 2], [216, 29, 200, 1, 99, 99], [168, 20, 0, 100, 99], [1, 1, 1]);
  assert.equal(decodeLevel(whole).x.length, 4);
  for (const [why, file, message] of [
    ['nothing', bytes(), /not a TRKW file/],
    ['another version', bytes('TRKW\x02', doubles(1, 1, 0, 0)), /not a TRKW file of version 1/],
    ['no scale', bytes('TRKW\x01', doubles(NaN, 1, 0, 0), [0, 0]), /no scale/],
    ['arcs without end', bytes(...header, huge), /truncated/],
    ['points without end', bytes(...header, [1], huge), /arc 0 has 1073741823 points/],
    ['a point', bytes(...header, [1, 1 << 2, 0, 0, 0]), /arc 0 has 1 points/],
    ['a long number', bytes(...header, [0x80, 0x80, 0x80, 0x80, 0x80, 0]), /more than five bytes/],
    ['a place beyond the pole', bytes(...header, [1, 2 << 2], [0, 0], [...huge.slice(0, 4), 1, 0], [0]), /point 0 is at/],
    ['rings without end', bytes(...header, [0], huge), /truncated/],
    ['references without end', bytes(...header, [0, 1], huge), /truncated/],
    ['an arc that is not there', bytes(...header, [0, 1, 1, 0]), /refers to arc 0 of 0/],
    ['one arc over and over', bytes(...header, [1, 2 << 2], [0, 0, 0, 0], [1, 4, 0, 0, 0, 0]), /more points than there are/],
    ['more than a file', bytes(...whole, [0]), /1 bytes left over/],
  ]) assert.throws(() => decodeLevel(file), { name: 'RangeError', message }, why);
  for (let n = 0; n < whole.length; n++) assert.throws(() => decodeLevel(whole.subarray(0, n)), RangeError, `${n} bytes`);

  for (const [why, file] of [
    ['nothing', bytes()],
    ['a level', whole],
    ['cities without end', bytes('TRKC\x01', huge)],
    ['a name too few', bytes('TRKC\x01', [2], [0, 0, 0, 0, 0, 0, 0, 0], 'one')],
    ['names of no city', bytes('TRKC\x01', [0], 'one')],
  ]) assert.throws(() => decodeCities(file), RangeError, why);
  assert.throws(() => decodeCities(bytes('TRKC\x01', [1], [0, 0, 0, 0], [0xff])), TypeError);
});

test('changed bytes are refused or make a map, and never anything else', () => {
  let seed = 1;
  const random = (n) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % n;
  let refused = 0;
  for (let round = 0; round < 300; round++) {
    const file = packed['world-110m'].slice();
    for (let i = 0; i < 3; i++) file[random(file.length)] = random(256);
    try {
      const level = decodeLevel(file);
      level.refs.forEach((_, i) => ring(level, i));
    } catch (err) {
      assert.ok(err instanceof RangeError, String(err));
      refused++;
    }
  }
  assert.ok(refused > 30, `${refused} of 300 were refused`);
});

test('what is unpacked has a limit', async () => {
  assert.deepEqual(await unpack(gzipSync('map'), 3), new Uint8Array(Buffer.from('map')));
  await assert.rejects(unpack(gzipSync(Buffer.alloc(1 << 22))), { name: 'RangeError', message: 'more than 1048576 bytes' });
  for (const name of Object.keys(packed)) assert.deepEqual(await unpack(read(`${name}.bin.gz`)), packed[name], name);
});
