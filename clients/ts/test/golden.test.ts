import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import * as m from '#dist/gen/messages.js';
import { methods } from '#dist/gen/services.js';
import * as v from '#dist/gen/verify.js';
import { fromHex, repository } from './root.js';

// What the Go encoders wrote, and what the Go verifiers said: see
// pkg/wire/trk/golden_test.go.
const read = <T>(name: string): T[] => JSON.parse(readFileSync(join(repository, 'testdata/rpc', name), 'utf8')) as T[];

interface Golden {
  method: string;
  id: number;
  request_hex: string;
  response_hex: string;
  event_hex?: string;
  request_frame_hex: string;
  response_frame_hex: string;
  request: unknown;
  response: unknown;
  event?: unknown;
}

const verifiers = v as unknown as Record<string, (b: Uint8Array) => boolean>;
const decoders = m as unknown as Record<string, (b: Uint8Array) => unknown>;

/** Bytes as numbers. */
function plain(x: unknown): unknown {
  if (x instanceof Uint8Array) return [...x];
  if (Array.isArray(x)) return x.map(plain);
  if (x === null || typeof x !== 'object') return x;
  return Object.fromEntries(Object.entries(x).map(([k, e]) => [k, plain(e)]));
}

/** The tables that can be made of b and then say what is wanted. */
function tablesOf(b: Uint8Array, want: unknown): string[] {
  return Object.keys(verifiers).map((k) => k.replace('verify', '')).filter((name) => {
    if (!verifiers[`verify${name}`]!(b)) return false;
    try {
      assert.deepEqual(plain(decoders[`decode${name}`]!(b)), want);
      return true;
    } catch {
      return false;
    }
  });
}

for (const g of read<Golden>('golden.json')) {
  test(`${g.method} is read as Go wrote it`, () => {
    assert.equal(methods[g.method]?.id, g.id);
    const header = new DataView(fromHex(g.request_frame_hex).buffer);
    assert.equal(header.getUint16(8, true), g.id);
    assert.equal(g.request_frame_hex.slice(24), g.request_hex);
    assert.equal(g.response_frame_hex.slice(24), g.response_hex);
    assert.notDeepEqual(tablesOf(fromHex(g.request_hex), g.request), [], 'request');
    assert.notDeepEqual(tablesOf(fromHex(g.response_hex), g.response), [], 'response');
    if (g.event_hex) assert.notDeepEqual(tablesOf(fromHex(g.event_hex), g.event), [], 'event');
  });
}

test('both languages agree on what is valid', () => {
  const all = read<{ table: string; hex: string; valid: boolean }>('verify.json');
  assert.ok(all.length > 100);
  for (const { table, hex, valid } of all) {
    const b = fromHex(hex);
    assert.equal(verifiers[`verify${table}`]!(b), valid, `${table} ${hex}`);
    if (valid) decoders[`decode${table}`]!(b);
  }
});
