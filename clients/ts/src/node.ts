/**
 * For Node: everything of the main entry, and connections over TCP and TLS.
 */
export * from './index.js';
export { SocketTransport, dialSocket, type TlsOptions } from './socket.js';
