export { RpcError, type ErrorDetails } from './errors.js';
export { Status, statusName } from './status.js';
export { Subscription, type Update } from './subscription.js';
export type { CallOptions, Caller, Event, MethodInfo, RawSubscription, SubscribeOptions } from './caller.js';
export { AuthKind, type Proof, type Welcome } from './hello.js';
export { untrusted, type Dial, type LineOptions, type LineState } from './line.js';
export type { Transport, TransportHandler, WebSocketConstructor, WebSocketLike } from './transport.js';
