package client

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// A watch that waits to connect again does so at once when somebody is in a hurry, before
// the pause or in it; otherwise a hurry does nothing.
func TestHurryEndsThePause(t *testing.T) { overAll(t, hurryEndsThePause) }

func hurryEndsThePause(t *testing.T, h *house) {
	for name, inPause := range map[string]bool{"before the pause": false, "in the pause": true} {
		t.Run(name, func(t *testing.T) {
			o := newOneLine(t, h.tcp)
			c := dialTo(t, Config{Server: h.scheme + o.addr, Token: h.admin})
			w, err := c.Watch(t.Context(), Area{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if e, err := w.Next(); err != nil || !wholeSnapshot(e) {
				t.Fatalf("got %+v, %v", e, err)
			}
			w.Hurry() // there is no pause that it could end
			_ = (<-o.carried).Close()
			if e, err := w.Next(); err != nil || e.Kind != Disconnected || e.RetryIn <= 0 {
				t.Fatalf("got %+v, %v", e, err)
			}
			w.retryAt = time.Now().Add(time.Hour)
			if !inPause {
				w.Hurry()
				w.Hurry() // is no harm
			}
			ended := make(chan error, 1)
			go func() {
				_, err := w.Next()
				ended <- err
			}()
			if inPause {
				for !strings.Contains(strings.Join(ourGoroutines(), ""), "(*Watch).rest") {
					runtime.Gosched()
				}
				if len(o.waiting) > 0 {
					t.Error("it connected before its time")
				}
				w.Hurry()
			}
			select {
			case again := <-o.waiting:
				_ = again.Close()
			case <-time.After(10 * time.Second):
				t.Error("it does not connect")
			}
			w.Close()
			<-ended
		})
	}
}
