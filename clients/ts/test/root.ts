import { fileURLToPath } from 'node:url';

/** The package's directory, and the repository's. */
export const packageDir = fileURLToPath(new URL('../../', import.meta.url));
export const repository = fileURLToPath(new URL('../../../../', import.meta.url));

/** Random numbers that come again with the same seed. */
export function mulberry(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const fromHex = (s: string): Uint8Array => Uint8Array.from(Buffer.from(s.replaceAll(' ', ''), 'hex'));
export const toHex = (b: Uint8Array): string => Buffer.from(b).toString('hex');
