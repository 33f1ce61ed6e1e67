import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { writeFix } from 'tracker-client';
import { connect } from 'tracker-client/node';
import { packageDir } from './root.js';
import { Server, noServer } from './server.js';

const run = promisify(execFile);

test('the worked example works, and its process ends by itself', { skip: noServer ?? false }, async (t) => {
  const server = await Server.start();
  t.after(() => server.remove());
  const admin = await connect(server.address, { token: server.token });
  t.after(() => admin.close());
  await admin.devices.enroll({ devices: [{ name: 'van' }] });
  await admin.publish.report({ device: 'van', fixes: [writeFix({ lat: 52.5, lon: 13.4 })] });
  const program = join(packageDir, 'build/examples/worked.js');
  const { stdout } = await run(process.execPath, [...process.execArgv, program, server.webSocket, server.token]);
  assert.equal(stdout, '1 + 2 = 3\nnews 1: 40, 0 skipped\nnews 1: 41, 0 skipped\nnews 1: 42, 0 skipped\nvan is at 52.5, 13.4\n');
});
