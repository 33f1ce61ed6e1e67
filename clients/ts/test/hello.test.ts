import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { headerSize } from '#dist/frame.js';
import { decodeError, decodeGoAway, decodeWelcome, encodeHello } from '#dist/hello.js';
import { AuthKind, Status } from 'tracker-client';
import { text } from './fake.js';
import { fromHex, repository, toHex } from './root.js';

const page = readFileSync(join(repository, 'docs/rpc.md'), 'utf8');
const golden = (name: string): Uint8Array => fromHex(new RegExp(`^${name} +([0-9a-f ]+)$`, 'm').exec(page)![1]!);

test('HELLO is that of the documentation', () => {
  const got = encodeHello({
    protoMin: 1, protoMax: 1, maxFrame: 1 << 20, schemaHash: 0x0102030405060708n, features: 1,
    client: 'trk/1.0.0', auth: { kind: AuthKind.Bearer, bytes: text('token') },
  });
  assert.equal(toHex(got), toHex(golden('hello')));
});

test('WELCOME is read as the documentation has it', () => {
  const want = {
    proto: 1, maxFrame: 1 << 20, connId: 7n, epoch: 9n, maxInflight: 4096, maxInflightBytes: 4 << 20, maxSubs: 256,
    maxCredit: 1 << 16, maxMessage: 4 << 20, idleMs: 60_000, features: 1, now: 2 ** 32,
  };
  const b = golden('welcome');
  assert.deepEqual(decodeWelcome(b), want);
  assert.deepEqual(decodeWelcome(Buffer.concat([b, b])), want);
  for (let n = 0; n < b.length; n++) assert.equal(decodeWelcome(b.subarray(0, n)), undefined);
});

test('an error is read as the documentation has it, and cut off is still that error', () => {
  const b = golden('error').subarray(headerSize);
  const e = decodeError(Status.NotFound, b);
  assert.deepEqual(
    [e.status, e.statusName, e.reason, e.retryAfterMs, e.notRun, e.message],
    [Status.NotFound, 'not found', 'no_device', 1500, true, 'not found: no_device'],
  );
  for (let n = 0; n < b.length; n++) assert.equal(decodeError(Status.NotFound, b.subarray(0, n)).status, Status.NotFound);
  assert.equal(decodeError(300, new Uint8Array(0)).message, 'status 300');
});

test('GOAWAY is read as the documentation has it', () => {
  const { lastId, error } = decodeGoAway(Status.Unauthenticated, golden('goaway').subarray(headerSize));
  assert.deepEqual([lastId, error.status, error.reason, error.notRun], [8, Status.Unauthenticated, 'expired', true]);
  assert.equal(decodeGoAway(Status.Unavailable, new Uint8Array(3)).lastId, undefined);
});
