/** How to know that a server is the one that is meant. */
export interface TlsOptions {
  /** "sha256:HEX" of its certificate, the only one to accept. A server prints it when it starts. */
  fingerprint?: string;
  /** PEM certificates of the only authorities to accept. Default: those of Node. */
  ca?: string | Uint8Array | (string | Uint8Array)[];
  /** The name that the certificate must have. Default: the host. */
  servername?: string;
}
