import { Status, mayHaveRun, mayPass, statusName } from './status.js';

/** What an RpcError may hold beside its status and its sentence. */
export interface ErrorDetails {
  reason?: string;
  field?: string;
  ref?: string;
  retryAfterMs?: number;
  notRun?: boolean;
  cause?: unknown;
}

/**
 * The one error of this package: how a request ended, as the server said it, or as this
 * side found out.
 */
export class RpcError extends Error {
  /** One of `Status`, or a number of the application from 256 on. */
  readonly status: number;
  /** A short constant that programs may look at, such as "not_found". */
  readonly reason: string;
  /** Which part of the request is to blame. */
  readonly field: string;
  /** Finds the failure in the server's log. */
  readonly ref: string;
  /** The server's wish; 0: none. */
  readonly retryAfterMs: number;
  /** The request certainly had no effect. */
  readonly notRun: boolean;
  /** What was said about the failure, without the status's name. */
  readonly detail: string;

  constructor(status: number, detail = '', d: ErrorDetails = {}) {
    super(sentence(status, detail, d), d.cause === undefined ? undefined : { cause: d.cause });
    this.name = 'RpcError';
    this.status = status;
    this.detail = detail;
    this.reason = d.reason ?? '';
    this.field = d.field ?? '';
    this.ref = d.ref ?? '';
    this.retryAfterMs = d.retryAfterMs ?? 0;
    this.notRun = d.notRun ?? !mayHaveRun(status);
  }

  /** The words for the status, such as "not found". */
  get statusName(): string {
    return statusName(this.status);
  }
}

function sentence(status: number, detail: string, d: ErrorDetails): string {
  let s = statusName(status);
  const more = detail || d.reason;
  if (more) s += `: ${more}`;
  if (d.ref) s += ` (${d.ref})`;
  return s;
}

/**
 * Whether the same request may be sent again: the failure may pass, and either the
 * request had no effect or having it twice is the same as once.
 */
export function retryable(err: unknown, idempotent: boolean): boolean {
  return err instanceof RpcError && mayPass(err.status) && (idempotent || err.notRun);
}

/** What an aborted signal means for a request. */
export function aborted(signal: AbortSignal, notRun = false): RpcError {
  const cause: unknown = signal.reason;
  const late = cause instanceof Error && cause.name === 'TimeoutError';
  return new RpcError(late ? Status.DeadlineExceeded : Status.Canceled, '', { cause, notRun });
}

/** The peer broke the protocol; the connection cannot go on. */
export function broken(detail: string, status: number = Status.BadFrame): RpcError {
  return new RpcError(status, detail, { notRun: false });
}
