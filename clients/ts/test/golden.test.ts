import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Builder } from 'flatbuffers';
import { Frame, Kind, Output, Parser } from '#dist/frame.js';
import * as m from '#dist/gen/messages.js';
import * as v from '#dist/gen/verify.js';
import { Services, methods, type Caller, type MethodInfo, type RawSubscription } from 'tracker-client';
import { fromHex, repository, toHex } from './root.js';

interface Golden {
  method: string;
  id: number;
  request_hex: string;
  response_hex: string;
  request_frame_hex: string;
  response_frame_hex: string;
  request: unknown;
  response: unknown;
}

const load = <T>(name: string): T[] => JSON.parse(readFileSync(join(repository, 'testdata/rpc', name), 'utf8')) as T[];

const schema = readFileSync(join(repository, 'pkg/wire/schema/tracker.fbs'), 'utf8');

/** The tables of a method's request and answer, by the schema. */
function tables(method: string): [string, string] {
  const [service, name] = method.split('.') as [string, string];
  const body = new RegExp(`rpc_service ${service} [^{]*{([^}]*)}`).exec(schema)![1]!;
  const [, request, answer] = new RegExp(`\\b${name}\\((\\w+)\\): (\\w+)`).exec(body)!;
  return [request!, answer!];
}

const verify = (table: string): ((b: Uint8Array) => boolean) => (v as never)[`verify${table}`];
const decode = (table: string): ((b: Uint8Array) => unknown) => (m as never)[`decode${table}`];
const encode = (table: string): ((b: Builder, v: unknown) => Uint8Array) => (m as never)[`encode${table}`];

/** Go writes what is absent as null, and bytes as numbers. */
function plain(v: unknown): unknown {
  if (v instanceof Uint8Array) return plain([...v]);
  if (Array.isArray(v)) return v.length === 0 ? null : v.map(plain);
  if (v === null || typeof v !== 'object') return v === '' ? null : v;
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, plain(e)]));
}

/** One frame of a message, whole. */
function frame(hex: string): Frame {
  const p = new Parser(1 << 20);
  const f = new Frame();
  p.push(fromHex(hex));
  assert.ok(p.next(f));
  assert.equal(p.left, 0);
  return f;
}

function reframe(f: Frame): string {
  const out = new Output();
  out.frame(f.kind, f.flags, f.id, f.code, f.aux, f.body);
  return toHex(out.take().bytes);
}

for (const g of load<Golden>('golden.json')) {
  test(`${g.method} is on the wire what Go makes of it`, async () => {
    const [request, answer] = tables(g.method);
    const req = frame(g.request_frame_hex);
    const rsp = frame(g.response_frame_hex);
    assert.deepEqual([req.kind, req.code, toHex(req.body), reframe(req)], [Kind.Req, g.id, g.request_hex, g.request_frame_hex]);
    assert.deepEqual([rsp.kind, rsp.id, toHex(rsp.body), reframe(rsp)], [Kind.Rsp, req.id, g.response_hex, g.response_frame_hex]);
    assert.ok(verify(request)(req.body));
    assert.deepEqual(plain(decode(request)(req.body)), plain(g.request));

    // What the generated client sends reads as the same, and what it hears is the answer.
    const seen: { method?: MethodInfo; body?: Uint8Array } = {};
    const caller: Caller = {
      builder: () => new Builder(16),
      call: (method, body) => ((seen.method = method), (seen.body = body.slice()), Promise.resolve(rsp.body)),
      subscribe: (method, body) => {
        seen.method = method;
        seen.body = body.slice();
        return Promise.resolve({ answer: rsp.body } as RawSubscription);
      },
    };
    const lower = (s: string): string => s[0]!.toLowerCase() + s.slice(1);
    const [service, name] = g.method.split('.').map((s) => lower(s)) as [string, string];
    const asked = (new Services(caller) as unknown as Record<string, Record<string, (r: unknown) => Promise<{ answer: unknown }>>>)[service]!;
    const got = await asked[name]!(g.request);
    assert.equal(seen.method, methods[g.method]);
    assert.equal(seen.method!.id, g.id);
    assert.ok(verify(request)(seen.body!));
    assert.deepEqual(plain(decode(request)(seen.body!)), plain(g.request));
    assert.deepEqual(plain(seen.method!.stream ? got.answer : got), plain(g.response));

    const again = encode(answer)(new Builder(16), decode(answer)(rsp.body)).slice();
    assert.ok(verify(answer)(again));
    assert.deepEqual(decode(answer)(again), decode(answer)(rsp.body));
  });
}

test('the golden frames know every method', () => {
  assert.deepEqual(load<Golden>('golden.json').map((g) => g.method).sort(), Object.keys(methods).sort());
});

test('both languages agree on which bodies are good', () => {
  let valid = 0;
  for (const { table, hex, valid: want } of load<{ table: string; hex: string; valid: boolean }>('verify.json')) {
    const b = fromHex(hex);
    assert.equal(verify(table)(b), want, `${table} ${hex}`);
    if (!want) continue;
    valid++;
    decode(table)(b);
  }
  assert.ok(valid > 50);
});
