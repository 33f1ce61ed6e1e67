import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { repository } from './root.js';

/** Why there is no server to test against; undefined: there is one. */
export const noServer = process.env['TRACKERD'] === 'none' ? 'told to do without a server' : undefined;

let built: string | undefined;

function program(): string {
  const given = process.env['TRACKERD'];
  if (given) return given;
  if (!built) {
    const dir = mkdtempSync(join(tmpdir(), 'trackerd-'));
    process.on('exit', () => rmSync(dir, { recursive: true, force: true }));
    built = join(dir, 'trackerd');
    execFileSync('go', ['build', '-o', built, './cmd/trackerd'], { cwd: repository, stdio: 'inherit' });
  }
  return built;
}

/** A real server on a directory of its own, which can be stopped and started again. */
export class Server {
  address = '';
  /** "sha256:HEX" of its certificate. */
  fingerprint = '';
  private process: ChildProcess | undefined;
  private log = '';

  private constructor(private readonly dir: string) {}

  static async start(): Promise<Server> {
    const s = new Server(mkdtempSync(join(tmpdir(), 'tracker-data-')));
    await s.begin('127.0.0.1:0');
    return s;
  }

  get token(): string {
    return readFileSync(join(this.dir, 'admin.token'), 'utf8').trim();
  }

  get webSocket(): string {
    return `ws://${this.address}`;
  }

  private async begin(listen: string): Promise<void> {
    const args = ['serve', '--data', this.dir, '--listen', listen, '--udp', '127.0.0.1:0'];
    const p = spawn(program(), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.process = p;
    p.stderr.setEncoding('utf8').on('data', (s: string) => {
      this.log += s;
      const m = /fingerprint=([0-9a-f]{64})/.exec(this.log);
      if (m) this.fingerprint = `sha256:${m[1]}`;
    });
    for await (const line of createInterface({ input: p.stdout })) {
      const m = /^ready tcp=(\S+)/.exec(line);
      if (!m) continue;
      this.address = m[1]!;
      p.stdout.resume();
      return;
    }
    throw new Error(`trackerd did not start:\n${this.log}`);
  }

  /** Ends the process; it says goodbye to its clients unless it is killed. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const p = this.process;
    this.process = undefined;
    if (!p) return;
    const ended = new Promise((resolve) => p.once('close', resolve));
    p.kill(signal);
    await ended;
  }

  /** Starts it again, at the same address. */
  again(): Promise<void> {
    return this.begin(this.address);
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** The Example service of a newer schema. */
export class LaterServer {
  private constructor(
    readonly address: string,
    private readonly process: ChildProcess,
    private readonly dir: string,
  ) {}

  static async start(): Promise<LaterServer> {
    const dir = mkdtempSync(join(tmpdir(), 'later-'));
    const program = join(dir, 'serve');
    execFileSync('go', ['build', '-o', program, './pkg/wire/trk/internal/later/serve'], { cwd: repository, stdio: 'inherit' });
    const p = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
    for await (const line of createInterface({ input: p.stdout })) {
      const m = /^ready tcp=(\S+)/.exec(line);
      if (m) return new LaterServer(m[1]!, p, dir);
    }
    throw new Error('the server of a newer schema did not start');
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('close', resolve));
    this.process.stdin!.end();
    this.process.stdout!.resume();
    await ended;
    rmSync(this.dir, { recursive: true, force: true });
  }
}
