package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Process is another process of this machine, by its id. What the system does not tell
// is unknown, never guessed.
type Process struct{ PID int }

// tickOfStat is the unit of /proc/PID/stat, the same on every Linux that Go runs on.
const tickOfStat = 10 * time.Millisecond

// CPU is the time that the process has used so far, user and system, with all threads
// that it ever had. Where the system has a clock for it, that is exact while the process
// waits, and short of what its threads did since the last tick of the kernel while they
// run; elsewhere it is told to 10 ms.
func (p *Process) CPU() (time.Duration, bool) {
	if p == nil {
		return 0, false
	}
	if d, ok := cpuClock(p.PID); ok {
		return d, true
	}
	return p.cpuStat()
}

// cpuStat is the same from the process's line of figures.
func (p *Process) cpuStat() (time.Duration, bool) {
	// The name of the program stands in brackets and may hold anything.
	_, rest, _ := strings.Cut(line(fmt.Sprintf("/proc/%d/stat", p.PID)), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, false
	}
	user, system := number(f[11]), number(f[12])
	if user == nil || system == nil {
		return 0, false
	}
	return time.Duration(*user+*system) * tickOfStat, true
}

// RSS is the memory that the process has resident, in bytes.
func (p *Process) RSS() (int64, bool) {
	if p == nil {
		return 0, false
	}
	pages := number(second(line(fmt.Sprintf("/proc/%d/statm", p.PID))))
	if pages == nil {
		return 0, false
	}
	return *pages * int64(pageSize), true
}

// IO is how many system calls of the process wrote, and how many bytes, so far. Datagrams
// are not among them: sending one is no write to the system.
func (p *Process) IO() (writes, written int64, ok bool) {
	if p == nil {
		return 0, 0, false
	}
	path := fmt.Sprintf("/proc/%d/io", p.PID)
	n, bytes := keyed(path, "syscw:"), keyed(path, "wchar:")
	if n == nil || bytes == nil {
		return 0, 0, false
	}
	return *n, *bytes, true
}

// Alive tells whether the process is still there, and not only waiting to be buried.
func (p *Process) Alive() bool {
	if p == nil {
		return false
	}
	_, rest, ok := strings.Cut(line(fmt.Sprintf("/proc/%d/stat", p.PID)), ") ")
	return ok && !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

// Listener finds the process of this machine that listens on a TCP port of it; nil if
// the system does not tell, or not us.
func Listener(port int) *Process {
	inode := ""
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if inode == "" {
			inode = listening(string(file(path)), port)
		}
	}
	if inode == "" {
		return nil
	}
	dirs, err := filepath.Glob("/proc/[0-9]*/fd")
	if err != nil {
		return nil
	}
	want := "socket:[" + inode + "]"
	for _, dir := range dirs {
		if !holds(dir, want) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil {
			return &Process{PID: pid}
		}
	}
	return nil
}

// listening is the inode of the socket that listens on a port, from the text of
// /proc/net/tcp.
func listening(table string, port int) string {
	const local, state, inode, listen = 1, 3, 9, "0A"
	for l := range strings.Lines(table) {
		f := strings.Fields(l)
		if len(f) <= inode || f[state] != listen {
			continue
		}
		_, hex, _ := strings.Cut(f[local], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port {
			return f[inode]
		}
	}
	return ""
}

// holds tells whether one of a process's open files is that socket.
func holds(dir, socket string) bool {
	files, err := os.ReadDir(dir)
	if err != nil {
		return false // somebody else's
	}
	for _, f := range files {
		if to, err := os.Readlink(filepath.Join(dir, f.Name())); err == nil && to == socket {
			return true
		}
	}
	return false
}

// OwnCPU is the CPU time that this process has used, user and system.
func OwnCPU() (time.Duration, bool) { return processCPU() }

// MachineCPU is the time that all processors together were not idle so far, to 10 ms;
// what the hypervisor took away is in it, waiting for disks is not.
func MachineCPU() (time.Duration, bool) {
	f := strings.Fields(line("/proc/stat"))
	if len(f) < 9 || f[0] != "cpu" {
		return 0, false
	}
	var ticks int64
	for i, s := range f[1:9] {
		n := number(s)
		if n == nil {
			return 0, false
		}
		if i != 3 && i != 4 { // idle, iowait
			ticks += *n
		}
	}
	return time.Duration(ticks) * tickOfStat, true
}

// ChildrenCPU is the time that children of this process used that have ended.
func ChildrenCPU() (time.Duration, bool) { return childrenCPU() }

// Processors are the numbers of those that this process may run on; nil where the
// system does not say.
func Processors() []int {
	for l := range strings.Lines(string(file("/proc/self/status"))) {
		if list, ok := strings.CutPrefix(l, "Cpus_allowed_list:"); ok {
			return parseRanges(strings.TrimSpace(list))
		}
	}
	return nil
}

// parseRanges reads "0-2,7".
func parseRanges(s string) (all []int) {
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if isRange && err == nil {
			b, err = strconv.Atoi(last)
		}
		if err != nil || b < a || b-a > 1<<16 {
			return nil
		}
		for i := a; i <= b; i++ {
			all = append(all, i)
		}
	}
	return all
}
