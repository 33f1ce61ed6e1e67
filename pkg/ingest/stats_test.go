package ingest

import "testing"

// The fields of Stats are filled by position; this holds the two lists together.
func TestStatsFieldsFollowTheCounters(t *testing.T) {
	var a, b tally
	for c := range counters {
		for range int(c) + 1 {
			a.count(c)
		}
		b.count(c)
	}
	a.publish()
	b.publish()
	var s Stats
	a.addTo(&s)
	b.addTo(&s)
	want := map[counter]string{
		fine: "ok", badLen: "bad_len", badVersion: "bad_version", misrouted: "misrouted", unknownID: "unknown_id",
		badSuite: "bad_suite", epochOld: "epoch_old", replay: "replay", tooOld: "too_old", kdfBudget: "kdf_budget",
		authFail: "auth_fail", nonceReuse: "nonce_reuse", rateLimited: "rate_limited", malformed: "malformed",
		timeFuture: "time_future", broken: "broken", fixesTaken: "fixes", timeSuspect: "time_suspect",
		sessions: "sessions", epochFuture: "epoch_future", cloneSuspected: "clone_suspected", acksSent: "acks",
		acksSuppressed: "acks_suppressed", acksFailed: "acks_failed", batches: "reads", readErrors: "read_errors",
	}
	if len(want) != int(counters) {
		t.Fatalf("%d names for %d counters", len(want), counters)
	}
	c := counter(0)
	for name, n := range s.All() {
		if c == counters {
			break
		}
		if name != want[c] || n != uint64(c)+2 {
			t.Errorf("field %d is %s = %d, want %s = %d", c, name, n, want[c], c+2)
		}
		c++
	}
	if got, want := s.Received(), uint64(int(outcomes)*(int(outcomes)+1)/2+int(outcomes)); got != want {
		t.Errorf("received %d, want %d", got, want)
	}
}
