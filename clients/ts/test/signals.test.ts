import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import test from 'node:test';
import { onAbort } from '#dist/signals.js';

test('a signal has one listener however many wait, and none when nobody does', () => {
  const c = new AbortController();
  const heard: number[] = [];
  const offs = Array.from({ length: 50 }, (_, i) => onAbort(c.signal, () => heard.push(i)));
  assert.equal(getEventListeners(c.signal, 'abort').length, 1);
  for (const off of offs.slice(2)) off();
  offs[2]!();
  c.abort();
  assert.deepEqual(heard, [0, 1]);
  for (const off of offs) off();
  const d = new AbortController();
  const off = onAbort(d.signal, () => heard.push(9));
  off();
  assert.equal(getEventListeners(d.signal, 'abort').length, 0);
  onAbort(d.signal, () => heard.push(10));
  off();
  d.abort();
  assert.deepEqual(heard, [0, 1, 10]);
});
