package load

import "runtime"

// Punctual keeps the calling goroutine on a thread of its own until the result is called,
// and puts that thread before others where the system lets it: who keeps a schedule needs
// little time, but needs it now. Where it does not let it, W02 says what came of that.
func Punctual() (done func()) {
	runtime.LockOSThread()
	undo := hasten()
	return func() {
		undo()
		runtime.UnlockOSThread()
	}
}
