// Package rpc carries calls and subscriptions over one connection, both ends of it.
// It knows frames, ids, order, credit and deadlines; it knows nothing of tracking,
// and a body is bytes to it.
//
//	peer ══ TRK1 HELLO REQ REQ REQ CREDIT … ══►  reader, one goroutine a connection
//	                                              │ every whole frame in the buffer
//	                ┌──────────────┬──────────────┼──────────────┐
//	              inline         async          keyed          stream
//	           in the reader   a worker    a worker, serial   a worker for
//	                │              │         for its key     as long as it lives
//	                ▼              ▼              ▼              ▼ credit
//	peer ◄═ a write or two a batch ═ [ output: RSP RSP ERR EVENT RSP PONG … ] ◄═
//
// One rule makes it fast: the reader never blocks in a read with unsent output, and
// writes once for a small batch and twice for a large one while whole requests are
// buffered. So the price of reads, writes and wake-ups is shared by a batch, and a
// large one's first half is on its way back while the second is worked on: server and
// peer work at the same time instead of in turns. Answers of workers gather in the same
// output; who writes them yields once before, because a writer that flushes at once
// writes one answer at a time.
//
// A subscription is a request whose answer stays open: the same id carries RSP, then
// EVENTs as far as CREDIT reaches, then END. What happens to updates without credit
// is the method's Policy: keep the newest for each key, wait, drop, or make none before
// there is credit; what is skipped is counted and the peer is told.
//
// Order. Inline requests of a connection are answered as they arrived; async ones in
// any order; keyed ones in order for their key, on whatever connection they came.
// The RSP of a subscription comes before its first EVENT, EVENTs carry a sequence
// that grows, and END or ERR is the last frame of an id. Behind GOAWAY no new request
// runs; those before it are still answered, as long as the connection stays.
//
// Everything is bounded: a frame by what was announced, requests in flight by count
// and by bytes, output by bytes and time, a subscription by credit. What a peer
// declares is not allocated before it has arrived. A bad peer gets a status or a
// GOAWAY that says why, is counted in Stats, and costs nobody else anything. The
// frame to the byte is in docs/rpc.md.
package rpc
