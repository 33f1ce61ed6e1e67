// Package peers measures other systems at the same work, in turn with ours, so that
// ratios can be told where figures alone would mean little.
//
//	Table ── round ──► ours: rpcload against a trackerd of its own
//	   │                Redis: redis-server, filled by redis-benchmark
//	   │                gRPC: a server in another process of this program
//	   └── medians, the least and the most, ratios within a round ──► bars
//
// Every server has the same processor to itself and one thread of code, every client
// the other. Servers that are not measured at the moment are idle and use none of it.
package peers

import "time"

const patience = 10 * time.Second

// Figure is one measurement of a peer.
type Figure struct {
	Calls       int64
	Took        time.Duration
	ClientCPU   time.Duration
	ServerCPU   time.Duration // if ServerKnown
	ServerKnown bool
}

// Rate is answers a second.
func (f *Figure) Rate() float64 {
	if f.Took <= 0 {
		return 0
	}
	return float64(f.Calls) / f.Took.Seconds()
}
