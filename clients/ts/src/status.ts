/**
 * How a request ended. 0 to 16 are gRPC's numbers, 32 to 63 are about the protocol, 256
 * and above belong to the services.
 */
export const Status = {
  OK: 0,
  Canceled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
  BadFrame: 32,
  FrameTooLarge: 33,
  BadBody: 34,
  SlowConsumer: 35,
  EpochChanged: 36,
  Version: 37,
} as const;

interface Row {
  name: string;
  /** The request may have had an effect. */
  ran: boolean;
  /** The same again can help. */
  retry: boolean;
}

const row = (name: string, ran: boolean, retry: boolean): Row => ({ name, ran, retry });

const rows = new Map<number, Row>([
  [Status.OK, row('ok', true, false)],
  [Status.Canceled, row('canceled', true, false)],
  [Status.Unknown, row('unknown', true, false)],
  [Status.InvalidArgument, row('invalid argument', false, false)],
  [Status.DeadlineExceeded, row('deadline exceeded', true, true)],
  [Status.NotFound, row('not found', false, false)],
  [Status.AlreadyExists, row('already exists', false, false)],
  [Status.PermissionDenied, row('permission denied', false, false)],
  [Status.ResourceExhausted, row('resource exhausted', false, true)],
  [Status.FailedPrecondition, row('failed precondition', false, false)],
  [Status.Aborted, row('aborted', false, true)],
  [Status.OutOfRange, row('out of range', false, false)],
  [Status.Unimplemented, row('unimplemented', false, false)],
  [Status.Internal, row('internal', true, false)],
  [Status.Unavailable, row('unavailable', false, true)],
  [Status.DataLoss, row('data loss', true, false)],
  [Status.Unauthenticated, row('unauthenticated', false, false)],
  [Status.BadFrame, row('bad frame', false, false)],
  [Status.FrameTooLarge, row('frame too large', false, false)],
  [Status.BadBody, row('bad body', false, false)],
  [Status.SlowConsumer, row('slow consumer', true, true)],
  [Status.EpochChanged, row('epoch changed', false, true)],
  [Status.Version, row('version', false, false)],
]);

/** The words for a status, as the server's log has them. */
export function statusName(status: number): string {
  return rows.get(status)?.name ?? `status ${status}`;
}

/** Whether a request that ended so may have had an effect. An unknown status may. */
export function mayHaveRun(status: number): boolean {
  return rows.get(status)?.ran ?? true;
}

/** Whether the same request can succeed later. */
export function mayPass(status: number): boolean {
  return rows.get(status)?.retry ?? false;
}
