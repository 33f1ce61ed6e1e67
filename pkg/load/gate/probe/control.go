package probe

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"tracker/pkg/load"
)

// controlSlice is short: it only has to show that the machine, and we, measure twice the
// same what is twice the same.
const controlSlice = 100 * time.Millisecond

// nullSession is a server that does nothing, with the calls of RPC made to it.
type nullSession struct {
	*callSession
	child *load.Child
}

// OpenNull starts a server that does nothing and connects to it: a control for RPC, in
// which only the machine and we ourselves can differ. start is the command for it, which
// prints "ready tcp=ADDR udp=ADDR" as trackerd does; it must not end with ctx, as Close
// ends it.
func OpenNull(ctx context.Context, start *exec.Cmd) (Session, error) {
	ready, cancel := context.WithTimeout(ctx, nullPatience)
	defer cancel()
	var addr, udp string
	child, err := load.StartChild(ready, start, "null server", func(line string) bool {
		n, _ := fmt.Sscanf(line, "ready tcp=%s udp=%s", &addr, &udp)
		return n == 2
	})
	if err != nil {
		return nil, err
	}
	c, err := openNullCaller(ctx, child, addr)
	if err != nil {
		return nil, errors.Join(err, child.Stop())
	}
	return &nullSession{&callSession{caller: c}, child}, nil
}

// nullPatience is for a process to start on a machine that is busy.
const nullPatience = 10 * time.Second

func openNullCaller(ctx context.Context, child *load.Child, addr string) (*caller, error) {
	cfg := calls(controlSlice)
	cfg.Server = &child.Process
	return newCaller(ctx, child, addr, cfg)
}

// Close ends the server, too.
func (s *nullSession) Close() error {
	return errors.Join(s.caller.Close(), s.child.Stop())
}
