#!/usr/bin/env node
// Decodes bodies, one a line of hex on stdin, and prints for each a line of JSON as
// in the vectors, or the name of the refusal. For tests that compare decoders.
import { readFileSync } from 'node:fs';
import { Refused, decodeBody } from './trk1.mjs';

const out = [];
for (const line of readFileSync(0, 'utf8').split('\n').slice(0, -1)) {
  try {
    const { ack, fixes, tlvs } = decodeBody(Buffer.from(line, 'hex'));
    out.push(JSON.stringify({ ack, fixes, tlvs }));
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    out.push(JSON.stringify(e.code));
  }
}
process.stdout.write(out.join('\n') + '\n');
