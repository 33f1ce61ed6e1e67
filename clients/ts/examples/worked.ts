// A call, a subscription and a live view over one connection.
//
//   node worked.js ws://127.0.0.1:4810 TOKEN
import { connect } from 'tracker-client';

const [url = 'ws://127.0.0.1:4810', token = ''] = process.argv.slice(2);
const client = await connect(url, { token });

// A call. It ends with an answer or an RpcError, after 30 s at the latest.
const { sum } = await client.example.sum({ a: 1, b: 2 });
console.log(`1 + 2 = ${sum}`);

// A subscription. Whoever reads slowly is told of each key the newest value, and how
// many it was spared. Leaving the loop ends it.
const news = await client.example.sub({ topic: 'news' });
await client.example.pub({ topic: 'news', key: 1, value: 40, count: 3 });
for await (const { value, skipped } of news) {
  console.log(`news ${value.key}: ${value.value}, ${skipped} skipped`);
  if (value.value === 42) break;
}

// A live view. It goes on by itself when the line breaks, where it was if the server
// still knows, else with another snapshot.
for await (const e of client.watchAll({ box: { south: 40, west: -10, north: 60, east: 30 } })) {
  switch (e.kind) {
    case 'snapshot':
    case 'resync':
    case 'fixes':
      for (const f of e.fixes) console.log(`${f.name} is at ${f.lat}, ${f.lon}`);
      for (const id of e.left) console.log(`${id} has left`);
      break;
    case 'disconnected':
      console.log(`${e.error.message}; trying again in ${Math.round(e.retryInMs)} ms`);
      break;
    case 'resumed':
      console.log('and nothing was missed');
  }
  if (e.kind === 'snapshot' && !e.more) break; // an app would go on
}

await client.close();
