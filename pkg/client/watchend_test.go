package client

import (
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"tracker/pkg/track"
)

// oneLine carries the first connection to a house and keeps the others waiting.
type oneLine struct {
	addr    string
	ln      net.Listener
	carried chan net.Conn
	waiting chan net.Conn
}

func newOneLine(t *testing.T, to string) *oneLine {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &oneLine{addr: ln.Addr().String(), ln: ln, carried: make(chan net.Conn, 1), waiting: make(chan net.Conn, 16)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for first := true; ; first = false {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if !first {
				o.waiting <- c
				continue
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				t.Error(err)
				return
			}
			o.carried <- c
			go func() {
				_, _ = io.Copy(up, c)
				_ = up.Close()
			}()
			go func() {
				_, _ = io.Copy(c, up)
				_ = c.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		for len(o.waiting) > 0 {
			_ = (<-o.waiting).Close()
		}
	})
	return o
}

// A watch that connects again, or waits before it does, ends when it is closed.
func TestCloseEndsAWatchThatHasNoLine(t *testing.T) { overAll(t, closeWithoutLine) }

func closeWithoutLine(t *testing.T, h *house) {
	for name, pause := range map[string]bool{"connecting": false, "waiting": true} {
		for who, all := range map[string]bool{"the watch": false, "the connection": true} {
			t.Run(name+", closing "+who, func(t *testing.T) {
				o := newOneLine(t, h.tcp)
				c := dialTo(t, Config{Server: h.scheme + o.addr, Token: h.admin})
				w, err := c.Watch(t.Context(), Area{})
				if err != nil {
					t.Fatal(err)
				}
				if e, err := w.Next(); err != nil || !wholeSnapshot(e) {
					t.Fatalf("got %+v, %v", e, err)
				}
				if pause {
					_ = o.ln.Close()
					w.failures = 10 // seconds to wait
				}
				_ = (<-o.carried).Close()
				if e, err := w.Next(); err != nil || e.Kind != Disconnected {
					t.Fatalf("got %+v, %v", e, err)
				}
				ended := make(chan error, 1)
				go func() {
					_, err := w.Next()
					ended <- err
				}()
				if !pause {
					defer (<-o.waiting).Close()
				}
				for !strings.Contains(strings.Join(ourGoroutines(), ""), "(*Watch).reconnect") {
					runtime.Gosched()
				}
				if all {
					c.Close()
				} else {
					w.Close()
				}
				select {
				case err := <-ended:
					if !errors.Is(err, track.ErrClosed) {
						t.Errorf("got %v", err)
					}
				case <-time.After(5 * time.Second):
					t.Error("it goes on")
				}
				w.Close()
			})
		}
	}
}
