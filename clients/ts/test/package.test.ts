import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { version } from '#dist/version.js';
import { packageDir } from './root.js';

const dist = join(packageDir, 'dist');
const read = (file: string): string => readFileSync(file, 'utf8');
const imports = (file: string): string[] => [...read(file).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((m) => m[1]!);

/** The modules that an entry needs, with what they import from elsewhere. */
function reach(entry: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string): void => {
    if (files.has(file)) return;
    files.add(file);
    for (const i of imports(file)) {
      if (i.startsWith('.')) visit(join(dirname(file), i));
      else packages.add(i);
    }
  };
  visit(join(dist, entry));
  return { files, packages };
}

test('the main entry needs nothing that a browser has not', () => {
  const { files, packages } = reach('index.js');
  assert.ok(files.size > 20);
  assert.deepEqual([...packages], ['flatbuffers']);
  for (const f of files) {
    const code = read(f).replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, '');
    assert.doesNotMatch(code, /\b(Buffer|process|require|setImmediate|__dirname)\b\s*[.(]/, f);
  }
});

test('the entry for Node adds nothing but what Node has', () => {
  const { packages } = reach('node.js');
  assert.deepEqual([...packages].sort(), ['flatbuffers', 'node:crypto', 'node:net', 'node:tls']);
});

test('the types name nothing that a browser has not', () => {
  for (const f of readdirSync(dist).filter((f) => f.endsWith('.d.ts') && !['node.d.ts', 'socket.d.ts'].includes(f))) {
    assert.doesNotMatch(read(join(dist, f)), /node:|NodeJS\.|\bBuffer\b/, f);
  }
});

test('the server is told the version of the package', () => {
  assert.equal(version, (JSON.parse(read(join(packageDir, 'package.json'))) as { version: string }).version);
});

test('versions are exact, and the lock file holds no addresses', () => {
  const p = JSON.parse(read(join(packageDir, 'package.json'))) as Record<string, Record<string, string>>;
  for (const v of Object.values({ ...p['dependencies'], ...p['devDependencies'] })) assert.match(v, /^\d+\.\d+\.\d+$/);
  assert.deepEqual(Object.keys(p['dependencies']!), ['flatbuffers']);
  assert.doesNotMatch(read(join(packageDir, 'package-lock.json')), /https?:|resolved/);
});
