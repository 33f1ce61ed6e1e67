import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RpcError, methods } from 'tracker-client';
import { repository } from './root.js';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

interface Frame {
  kind?: number;
  fixes?: number;
  names?: string;
  first?: Json;
  last?: Json;
}

export interface Case {
  name: string;
  method: string;
  request: Json;
  as?: string;
  timeout_ms?: number;
  during?: Case[];
  save?: Record<string, string>;
  expect: { status?: string; reason?: string; field?: string; fields?: Json; events?: Json[]; frames?: Frame[]; ends?: string };
}

/** What every client can ask of a server, and what it must hear. */
export const suite = JSON.parse(readFileSync(join(repository, 'testdata/rpc/suite.json'), 'utf8')) as { cases: Case[] };

const camel = (s: string): string => s.replace(/_([a-z])/g, (_, c: string) => c.toUpperCase());
const snake = (s: string): string => s.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/** What was saved, and what stands for it. */
export class Memory {
  readonly saved = new Map<string, Json>();
  private readonly now = Date.now();

  fill(v: Json): Json {
    if (typeof v === 'string' && v.startsWith('$')) return this.value(v);
    if (Array.isArray(v)) return v.map((e) => this.fill(e));
    if (v === null || typeof v !== 'object') return v;
    return Object.fromEntries(Object.entries(v).map(([k, e]) => [k, this.fill(e)]));
  }

  private value(text: string): Json {
    const m = /^\$now([+-]\d+)?$/.exec(text);
    if (m) return this.now + Number(m[1] ?? 0);
    const v = this.saved.get(text.slice(1));
    assert.notEqual(v, undefined, `nothing was saved as ${text}`);
    return v!;
  }

  save(names: Record<string, string> | undefined, answer: Json): void {
    for (const [name, path] of Object.entries(names ?? {})) {
      let v: Json | undefined = answer;
      for (const part of path.split('.')) v = (v as Record<string, Json> | undefined)?.[part];
      assert.notEqual(v, undefined, `no ${path} to save`);
      this.saved.set(name, v!);
    }
  }
}

/** The names of TypeScript; bytes are base64 in the list. */
function toRequest(v: Json): unknown {
  if (Array.isArray(v)) return v.map(toRequest);
  if (v === null || typeof v !== 'object') return v;
  return Object.fromEntries(
    Object.entries(v).map(([k, e]) => [camel(k), k === 'payload' ? Buffer.from(e as string, 'base64') : toRequest(e)]),
  );
}

/** The names of the schema. */
function fromAnswer(v: unknown): Json {
  if (v instanceof Uint8Array) return Buffer.from(v).toString('base64');
  if (Array.isArray(v)) return v.map(fromAnswer);
  if (v === null || typeof v !== 'object') return v as Json;
  return Object.fromEntries(Object.entries(v).map(([k, e]) => [snake(k), fromAnswer(e)]));
}

/** Compares as far as want names things. */
function matches(got: Json | undefined, want: Json, path: string): void {
  if (want === '*') return assert.ok(got, `${path} is ${JSON.stringify(got)}`);
  if (Array.isArray(want)) {
    assert.ok(Array.isArray(got), `${path} is ${JSON.stringify(got)}`);
    assert.equal(got.length, want.length, `${path}: ${JSON.stringify(got)}`);
    return want.forEach((w, i) => matches(got[i], w, `${path}.${i}`));
  }
  if (want === null || typeof want !== 'object') return assert.deepEqual(got, want, path);
  assert.ok(got !== null && typeof got === 'object', `${path} is ${JSON.stringify(got)}`);
  for (const [k, w] of Object.entries(want)) matches((got as Record<string, Json>)[k], w, `${path}.${k}`);
}

interface Stream extends AsyncIterable<{ value: unknown }> {
  answer: unknown;
}
type Method = (req: unknown, o: object) => Promise<unknown>;

/** Services on a connection, by their names. */
export interface Asked {
  services: object;
  close(): Promise<void>;
}

export class Runner {
  constructor(
    private readonly admin: Asked,
    private readonly open: (token: string) => Promise<Asked>,
    private readonly memory: Memory,
  ) {}

  async run(c: Case): Promise<void> {
    if (c.as === undefined) return this.on(this.admin, c);
    let other: Asked;
    try {
      other = await this.open(this.memory.fill(c.as) as string);
    } catch (err) {
      return this.failed(c, err);
    }
    try {
      await this.on(other, c);
    } finally {
      await other.close();
    }
  }

  private async on(asked: Asked, c: Case): Promise<void> {
    const [service, name] = c.method.split('.') as [string, string];
    const lower = (s: string): string => s[0]!.toLowerCase() + s.slice(1);
    const target = (asked.services as Record<string, Record<string, Method>>)[lower(service)]!;
    const o = c.timeout_ms === undefined ? {} : { timeoutMs: c.timeout_ms };
    let answer: unknown;
    try {
      answer = await target[lower(name)]!(toRequest(this.memory.fill(c.request)), o);
    } catch (err) {
      return this.failed(c, err);
    }
    const stream = methods[c.method]!.stream ? (answer as Stream) : undefined;
    const got = fromAnswer(stream ? stream.answer : answer);
    assert.equal(c.expect.status, undefined, `${c.name}: ${JSON.stringify(got)}`);
    matches(got, this.memory.fill(c.expect.fields ?? {}), c.name);
    this.memory.save(c.save, got);
    if (stream) await this.stream(c, stream);
  }

  private failed(c: Case, err: unknown): void {
    assert.ok(err instanceof RpcError, `${c.name}: ${String(err)}`);
    assert.equal(err.statusName, c.expect.status, `${c.name}: ${err.message}`);
    if (c.expect.reason !== undefined) assert.equal(err.reason, c.expect.reason, c.name);
    if (c.expect.field !== undefined) assert.equal(err.field, c.expect.field, c.name);
  }

  private async stream(c: Case, s: Stream): Promise<void> {
    const it = s[Symbol.asyncIterator]();
    // A watch begins with a snapshot: what happens meanwhile comes after it.
    const frames = (c.expect.frames ?? []).map((f) => this.memory.fill(f as Json) as Frame);
    if (frames[0]?.kind === 1) await this.frames(c, it, frames.splice(0, 1));
    for (const d of c.during ?? []) await this.run(d);
    for (const want of c.expect.events ?? []) {
      const r = await it.next();
      assert.ok(!r.done, `${c.name}: ended before ${JSON.stringify(want)}`);
      matches(fromAnswer(r.value.value), this.memory.fill(want), c.name);
    }
    await this.frames(c, it, frames);
    if (c.expect.ends === undefined) return void (await it.return!());
    const end = it.next().then((r) => (r.done ? 'ok' : JSON.stringify(r.value)));
    assert.equal(await end.catch((e: unknown) => (e as RpcError).statusName), c.expect.ends, c.name);
  }

  /** Frames may be cut anywhere: as many are read as it takes to have all fixes. */
  private async frames(c: Case, it: AsyncIterator<{ value: unknown }>, wants: Frame[]): Promise<void> {
    for (const want of wants) {
      const fixes: Json[] = [];
      for (let more = true; more; ) {
        const r = await it.next();
        assert.ok(!r.done, `${c.name}: ended before ${JSON.stringify(want)}`);
        const f = fromAnswer(r.value.value) as { kind?: number; more?: boolean; fixes: Json[]; names: string[] };
        if (want.kind !== undefined) assert.equal(f.kind, want.kind, c.name);
        if (want.names !== undefined) assert.ok(f.names.every((n) => n === want.names), `${c.name}: ${f.names.join()}`);
        fixes.push(...f.fixes);
        more = fixes.length < want.fixes! || f.more === true;
      }
      assert.equal(fixes.length, want.fixes, c.name);
      if (want.first !== undefined) matches(fixes[0], want.first, c.name);
      if (want.last !== undefined) matches(fixes.at(-1), want.last, c.name);
    }
  }
}
