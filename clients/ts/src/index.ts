export { RpcError, type ErrorDetails } from './errors.js';
export { Status, statusName } from './status.js';
export { Subscription, type Update } from './subscription.js';
export type { CallOptions, Caller, Event, MethodInfo, RawSubscription, SubscribeOptions } from './caller.js';
