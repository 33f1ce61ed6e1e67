package load

import (
	"context"
	"time"
)

// Nap sleeps in the kernel, for those who keep a schedule that no Plan says. It is as
// fine as the system's own timer, which the Go runtime's is not.
func Nap(d time.Duration) { kernelSleep(d) }

// Pause waits, unless ctx ends before: then it returns why.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
