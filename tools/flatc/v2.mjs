// A later version of the schema, for the tests that hold both against each other: it
// has grown in every way that is allowed. It is made from today's, so that it never
// falls behind.

/** What is added at the end of tables that there are. */
const fields = {
  Empty: 'note: string;',
  SessionInfo: 'zone: string;',
  Fixes: 'total: uint; tags: [string];',
  WatchReq: 'every_ms: uint;',
  WatchAck: 'server: string;',
  WatchFrame: 'sent: double; owners: [Owner];',
  ReportReq: 'trip: string;',
  ReportAck: 'odometer_m: double;',
  StatusReply: 'region: Owner;',
  SumReq: 'c: int; label: string; weights: [double];',
  SumRsp: 'exact: double; terms: [int]; label: string;',
  EchoReq: 'times: ubyte;',
  EchoRsp: 'checksum: uint;',
  SubReq: 'since: double;',
  SubAck: 'topic: string; owner: Owner;',
  PubReq: 'urgent: bool;',
  PubAck: 'position: double;',
  Published: 'topic: string; at: Point; time: double;',
};

/** Methods added to services that there are. */
const methods = {
  Example: '/// a * b, wrapping.\n  Product(SumReq): SumRsp (rpc_id: 7, exec: "inline", idempotent, scope: "any");',
};

const added = `
/// Whose something is; owners may have owners.
table Owner { name: string; of: Owner; since: double; }

table OwnersReq { prefix: string; }
table OwnersReply { owners: [Owner]; }

/// A service that there was not.
rpc_service Owners (service_id: 16) {
  List(OwnersReq): OwnersReply (rpc_id: 1, idempotent, scope: "any");
}
`;

/** Puts text before the brace that ends a declaration, of one line or many. */
function insert(source, kind, name, text) {
  const start = source.search(new RegExp(`^${kind} ${name}\\b`, 'm'));
  if (start < 0) throw new Error(`v2: no ${kind} ${name} in the schema`);
  const line = source.slice(start, source.indexOf('\n', start));
  const end = line.endsWith('}') ? start + line.length - 1 : source.indexOf('\n}', start);
  return source.slice(0, end) + '\n  ' + text + source.slice(end);
}

export function grow(source) {
  for (const [table, text] of Object.entries(fields)) source = insert(source, 'table', table, text);
  for (const [service, text] of Object.entries(methods)) source = insert(source, 'rpc_service', service, text);
  source = source.replace(/(enum AppError : ushort \{[\s\S]*?ProofTime = 259)/, '$1,\n  /// There is no such owner.\n  NoOwner = 260');
  return source + added;
}
