package load

import "time"

// Nap sleeps in the kernel, for those who keep a schedule that no Plan says. It is as
// fine as the system's own timer, which the Go runtime's is not.
func Nap(d time.Duration) { kernelSleep(d) }
