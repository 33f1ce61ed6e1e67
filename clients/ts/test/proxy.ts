import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

/** Passes bytes on to a server until it cuts the line. */
export class Proxy {
  address = '';
  private readonly sockets = new Set<Socket>();
  private readonly server: Server;
  private refuses = false;
  /** Connections so far. */
  count = 0;

  private constructor(target: string) {
    const [host, port] = target.split(':') as [string, string];
    this.server = createServer((a) => {
      if (this.refuses) return a.destroy();
      this.count++;
      const b = connect(Number(port), host);
      for (const s of [a, b]) {
        this.sockets.add(s);
        s.on('error', () => undefined);
        s.on('close', () => this.sockets.delete(s));
      }
      a.on('close', () => b.destroy());
      b.on('close', () => a.destroy());
      a.pipe(b).pipe(a);
      return undefined;
    });
  }

  static async start(target: string): Promise<Proxy> {
    const p = new Proxy(target);
    await new Promise<void>((resolve) => p.server.listen(0, '127.0.0.1', resolve));
    p.address = `127.0.0.1:${(p.server.address() as AddressInfo).port}`;
    return p;
  }

  /** Breaks every connection; new ones are refused until mend. */
  cut(): void {
    this.refuses = true;
    for (const s of this.sockets) s.destroy();
  }

  mend(): void {
    this.refuses = false;
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
