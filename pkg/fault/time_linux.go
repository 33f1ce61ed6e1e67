//go:build benchfault

package fault

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// spin does nothing, that often. It looks at no clock: that would cost more than what it
// is to cost, and a processor that others slow down has to take longer for it, as for all
// else.
//
//go:noinline
func spin(turns uint64) {
	x := turns
	for range turns {
		x = x*6364136223846793005 + 1442695040888963407 // each turn needs the one before
	}
	runtime.KeepAlive(x) // or the compiler could leave the multiplications out
}

const (
	trials     = 40
	trialTurns = 100_000 // some 100 microseconds
)

// turnsIn is how many turns of spin take d. The quickest of several trials counts: what
// else the machine does can only make one longer.
func turnsIn(d time.Duration) uint64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	quickest := time.Duration(math.MaxInt64)
	for range trials {
		began := threadTime()
		spin(trialTurns)
		quickest = min(quickest, threadTime()-began)
	}
	return uint64(math.Ceil(float64(d) * trialTurns / float64(max(quickest, 1))))
}

// threadTime is the time of a processor that this thread has had. That of the process
// would have the collector's in it.
func threadTime() time.Duration {
	const clockThread = 3 // CLOCK_THREAD_CPUTIME_ID
	var ts syscall.Timespec
	syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockThread, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

// alarm is a timer of the kernel that is waited for as for a socket. The runtime's own
// timers are rounded to a millisecond when there is nothing else to do, and a thread that
// sleeps would keep the processor of its goroutine from the others for much of that time.
type alarm struct {
	f  *os.File
	fd uintptr // of f, which would have to be asked in a way that makes it block
}

// alarms that nobody waits for. One that the pool lets go of is closed by its file.
var alarms sync.Pool

func newAlarm() (*alarm, error) {
	const monotonic = 1 // CLOCK_MONOTONIC
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, fmt.Errorf("make a timer: %w", errno)
	}
	return &alarm{os.NewFile(fd, "timer"), fd}, nil
}

// wait returns after d.
func (a *alarm) wait(d time.Duration) error {
	once := [2]syscall.Timespec{{}, syscall.NsecToTimespec(int64(d))}
	_, _, errno := syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, a.fd, 0, uintptr(unsafe.Pointer(&once)), 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("set a timer: %w", errno)
	}
	var expired [8]byte
	if _, err := a.f.Read(expired[:]); err != nil {
		return fmt.Errorf("wait for a timer: %w", err)
	}
	return nil
}

// nap sleeps. A server that cannot be made worse as asked must not look like a good one.
func nap(d time.Duration) {
	a, _ := alarms.Get().(*alarm)
	var err error
	if a == nil {
		a, err = newAlarm()
	}
	if err == nil {
		err = a.wait(d)
	}
	if err != nil {
		panic(err)
	}
	alarms.Put(a)
}
