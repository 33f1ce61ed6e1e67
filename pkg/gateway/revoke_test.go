package gateway

import (
	"context"
	"testing"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// The connection of a token that was revoked lives on for a moment. It must not be used
// to make another token, or to change anything.
func TestRevokedTokenChangesNothingWhileItsConnectionEnds(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.RPC.Grace = 20 * time.Second })
	tok, secret, err := h.engine.CreateToken(context.Background(), "thief", engine.RoleAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	van := h.enroll("van")[0]
	s := servicesOf(h.dial(bearer(secret)))
	had := len(h.engine.Tokens())
	if err := h.engine.RevokeToken(context.Background(), tok.ID); err != nil {
		t.Fatal(err)
	}
	_, err = s.tokens.Create(within(t), &trk.NewTokenT{Name: "another", Role: "admin"})
	if err == nil || len(h.engine.Tokens()) != had-1 {
		t.Errorf("a revoked token made another: %v", err)
	}
	wantGone(t, "create", err)
	_, err = s.devices.Revoke(within(t), &trk.DeviceRefT{Device: van.Device.String()})
	wantGone(t, "revoke", err)
	_, err = s.publish.Report(within(t), &trk.ReportReqT{Device: "van", Fixes: []*trk.FixT{nowFix(1, 1, 1)}})
	wantGone(t, "report", err)
}

// wantGone wants what the end of a token says, or of its connection.
func wantGone(t testing.TB, what string, err error) {
	t.Helper()
	if got, _ := reason(err); got != rpc.Unauthenticated && got != rpc.Unavailable {
		t.Errorf("%s: %v", what, err)
	}
}
