package main

import (
	"context"
	"testing"
	"time"

	"github.com/creack/pty"

	"tracker/pkg/load"
)

func TestKeysEndARunAndMarkMoments(t *testing.T) {
	keyboard, tty, err := pty.Open()
	if err != nil {
		t.Skipf("skip: no terminal can be made here: %v", err)
	}
	t.Cleanup(func() {
		_ = keyboard.Close()
		_ = tty.Close()
	})
	ctx, quit := context.WithCancel(t.Context())
	defer quit()
	began := time.Now()
	k := listenAt(tty.Name(), quit)
	if k == nil {
		t.Fatal("it does not listen")
	}
	if _, err := keyboard.WriteString(" x q"); err != nil { // no line end: each key counts by itself
		t.Fatal(err)
	}
	<-ctx.Done()
	k.close()
	r := load.NewResult("x", "y")
	r.Started = load.Instant{Time: began}
	k.mark(r)
	if len(r.Events) != 2 || r.Events[0].TNS <= 0 || r.Events[0].TNS > r.Events[1].TNS {
		t.Errorf("got %+v", r.Events)
	}
}
