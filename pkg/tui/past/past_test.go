package past

import (
	"testing"

	"tracker/pkg/tui/fleet"
)

func TestThePresentIsTheLiveStore(t *testing.T) {
	live := fleet.New(fleet.Config{})
	p := New(nil, live, nil)
	if p.Store() != live || !p.State().Live {
		t.Error("a new player does not show the present")
	}
}
