interface Waiting {
  fns: Set<() => void>;
  listener: () => void;
}

const signals = new WeakMap<AbortSignal, Waiting>();

/**
 * Calls fn when the signal aborts, unless what is returned is called before. A signal
 * has one listener however many wait for it: it looks through all of them whenever one
 * is added, and Node warns of more than ten.
 */
export function onAbort(signal: AbortSignal | undefined, fn: () => void): () => void {
  if (!signal) return () => undefined;
  const w = signals.get(signal) ?? begin(signal);
  w.fns.add(fn);
  return () => {
    if (!w.fns.delete(fn) || w.fns.size > 0 || signals.get(signal) !== w) return;
    signals.delete(signal);
    signal.removeEventListener('abort', w.listener);
  };
}

function begin(signal: AbortSignal): Waiting {
  const fns = new Set<() => void>();
  const listener = (): void => {
    signals.delete(signal);
    for (const fn of fns) fn();
  };
  const w = { fns, listener };
  signals.set(signal, w);
  signal.addEventListener('abort', listener, { once: true });
  return w;
}
