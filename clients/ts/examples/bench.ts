// Calls a second over one connection, always as many in flight as DEPTH.
//
//   node bench.js 127.0.0.1:4810 TOKEN [DEPTH] [SECONDS]
import { connect } from 'tracker-client/node';

const [address = '127.0.0.1:4810', token = '', depth = '512', seconds = '3'] = process.argv.slice(2);
const client = await connect(address, { token });

let calls = 0;
let wrong = 0;
let until = 0;

async function caller(n: number): Promise<void> {
  for (let i = 0; performance.now() < until; i++) {
    if ((await client.example.sum({ a: n, b: i })).sum !== n + i) wrong++;
    calls++;
  }
}

async function run(ms: number): Promise<number> {
  calls = 0;
  const begin = performance.now();
  until = begin + ms;
  await Promise.all(Array.from({ length: Number(depth) }, (_, n) => caller(n)));
  return calls / ((performance.now() - begin) / 1000);
}

await run(1000); // to warm up
const rate = await run(1000 * Number(seconds));
console.log(`${Math.round(rate)} calls/s at depth ${depth} over ${address}, ${wrong} wrong`);
await client.close();
