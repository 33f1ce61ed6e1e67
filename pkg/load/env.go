package load

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// Env is the machine that a result was taken on. What a system does not tell is
// absent, never guessed.
type Env struct {
	Fingerprint string   `json:"fingerprint"` // of what does not change from run to run
	OS          string   `json:"os"`
	CPU         string   `json:"cpu,omitempty"`
	Cores       int      `json:"cores"`
	CgroupMax   string   `json:"cgroup_cpu_max,omitempty"`
	Kernel      string   `json:"kernel,omitempty"`
	Clocksource string   `json:"clocksource,omitempty"`
	Governor    string   `json:"governor,omitempty"`
	Memory      *int64   `json:"memory,omitempty"`
	Virt        string   `json:"virt,omitempty"`
	TCPCC       string   `json:"tcp_cc,omitempty"`
	RmemMax     *int64   `json:"rmem_max,omitempty"`
	Nofile      *int64   `json:"nofile,omitempty"`
	GoMaxProcs  int      `json:"gomaxprocs"`
	GOGC        int      `json:"gogc"`
	StealPct    *float64 `json:"steal_pct,omitempty"` // of all CPU time during the run
	PSI         *float64 `json:"psi_cpu_some_avg60,omitempty"`
	Throttled   *int64   `json:"throttled,omitempty"`         // periods, during the run
	TCPRetrans  *int64   `json:"tcp_retrans,omitempty"`       // segments, during the run
	UDPErrors   *int64   `json:"udp_rcvbuf_errors,omitempty"` // datagrams, whole machine, during the run
	SndErrors   *int64   `json:"udp_sndbuf_errors,omitempty"`
	Overflows   *int64   `json:"listen_overflows,omitempty"`
	SynRetrans  *int64   `json:"syn_retrans,omitempty"`
}

// Vitals is a reading of the machine's counters; two of them tell a run.
type Vitals struct {
	steal, total *int64 // jiffies
	throttled    *int64
	retrans      *int64
	udpErrors    *int64
	sndErrors    *int64
	overflows    *int64
	synRetrans   *int64
}

// ReadVitals reads the counters now.
func ReadVitals() Vitals {
	v := Vitals{
		throttled:  keyed(cgroup("cpu.stat"), "nr_throttled"),
		retrans:    netstat("/proc/net/snmp", "Tcp", "RetransSegs"),
		udpErrors:  netstat("/proc/net/snmp", "Udp", "RcvbufErrors"),
		sndErrors:  netstat("/proc/net/snmp", "Udp", "SndbufErrors"),
		overflows:  netstat("/proc/net/netstat", "TcpExt", "ListenOverflows"),
		synRetrans: netstat("/proc/net/netstat", "TcpExt", "TCPSynRetrans"),
	}
	v.steal, v.total = jiffies()
	return v
}

// Describe tells the machine and what it did between two readings.
func Describe(before, after Vitals) Env {
	gogc := debug.SetGCPercent(100)
	debug.SetGCPercent(gogc)
	e := Env{
		OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), GoMaxProcs: runtime.GOMAXPROCS(0), GOGC: gogc,
		CPU:         cpuModel(),
		CgroupMax:   line(cgroup("cpu.max")),
		Kernel:      line("/proc/sys/kernel/osrelease"),
		Clocksource: line("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		Governor:    line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		Memory:      memory(),
		Virt:        line("/sys/hypervisor/type"),
		TCPCC:       line("/proc/sys/net/ipv4/tcp_congestion_control"),
		RmemMax:     number(line("/proc/sys/net/core/rmem_max")),
		Nofile:      openFiles(),
		PSI:         pressure(),
		Throttled:   minus(after.throttled, before.throttled),
		TCPRetrans:  minus(after.retrans, before.retrans),
		UDPErrors:   minus(after.udpErrors, before.udpErrors),
		SndErrors:   minus(after.sndErrors, before.sndErrors),
		Overflows:   minus(after.overflows, before.overflows),
		SynRetrans:  minus(after.synRetrans, before.synRetrans),
	}
	if e.Virt == "" && bytes.Contains(file("/proc/cpuinfo"), []byte("hypervisor")) {
		e.Virt = "guest"
	}
	if steal, total := minus(after.steal, before.steal), minus(after.total, before.total); total != nil && *total > 0 {
		pct := 100 * float64(*steal) / float64(*total)
		e.StealPct = &pct
	}
	e.Fingerprint = e.fingerprint()
	return e
}

// cgroup is the path of a file of the control group that this process is in, or of the
// nearest one above it that has such a file.
func cgroup(name string) string {
	const root = "/sys/fs/cgroup"
	_, own, _ := strings.Cut(line("/proc/self/cgroup"), "0::")
	for dir := path.Join(root, own); strings.HasPrefix(dir, root); dir = path.Dir(dir) {
		if file := path.Join(dir, name); exists(file) {
			return file
		}
	}
	return path.Join(root, name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Allowed is how many processors' time this process may use: GOMAXPROCS, or less where a
// control group or an affinity says so.
func (e *Env) Allowed() float64 {
	cores := float64(e.GoMaxProcs)
	if n := len(Processors()); n > 0 {
		cores = min(cores, float64(n))
	}
	quota, period, ok := strings.Cut(e.CgroupMax, " ")
	if q, p := number(quota), number(period); ok && q != nil && p != nil && *p > 0 {
		cores = min(cores, float64(*q)/float64(*p))
	}
	return cores
}

// memory is what the machine has, in bytes.
func memory() *int64 {
	for l := range strings.Lines(string(file("/proc/meminfo"))) {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != "MemTotal:" {
			continue
		}
		if kib := number(f[1]); kib != nil {
			bytes := *kib << 10
			return &bytes
		}
	}
	return nil
}

// OpenFiles is how many files this process may have open, 0 if nobody knows.
func OpenFiles() int64 {
	if n := openFiles(); n != nil {
		return *n
	}
	return 0
}

// fingerprint sums up what must be equal for two results to be comparable.
func (e *Env) fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		e.OS, e.CPU, strconv.Itoa(e.Cores), e.CgroupMax, e.Kernel, e.Clocksource, e.Virt, e.TCPCC,
		fmt.Sprint(e.GoMaxProcs, e.GOGC), runtime.Version(),
	}, "\x00")))
	return "sha256:" + hex.EncodeToString(sum[:8])
}

func file(path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return b
}

func line(path string) string {
	first, _, _ := strings.Cut(string(file(path)), "\n")
	return strings.TrimSpace(first)
}

func second(s string) string {
	if f := strings.Fields(s); len(f) > 1 {
		return f[1]
	}
	return ""
}

var pageSize = os.Getpagesize()

func number(s string) *int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil
	}
	return &n
}

func minus(a, b *int64) *int64 {
	if a == nil || b == nil {
		return nil
	}
	d := *a - *b
	return &d
}

func cpuModel() string {
	for l := range strings.Lines(string(file("/proc/cpuinfo"))) {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(k) == "model name" {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// keyed reads "key value" lines.
func keyed(path, key string) *int64 {
	for l := range strings.Lines(string(file(path))) {
		if f := strings.Fields(l); len(f) == 2 && f[0] == key {
			return number(f[1])
		}
	}
	return nil
}

// netstat reads the pairs of lines of /proc/net/snmp: names, then values.
func netstat(path, proto, name string) *int64 {
	var names []string
	for l := range strings.Lines(string(file(path))) {
		f := strings.Fields(l)
		if len(f) == 0 || f[0] != proto+":" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i := range names {
			if names[i] == name && i < len(f) {
				return number(f[i])
			}
		}
	}
	return nil
}

// jiffies are the time that the hypervisor took away, and all time.
func jiffies() (steal, total *int64) {
	f := strings.Fields(line("/proc/stat"))
	if len(f) < 9 || f[0] != "cpu" {
		return nil, nil
	}
	var sum int64
	for _, s := range f[1:9] {
		n := number(s)
		if n == nil {
			return nil, nil
		}
		sum += *n
	}
	return number(f[8]), &sum
}

// pressure is how much of the last minute somebody waited for a CPU, in percent.
func pressure() *float64 {
	for _, f := range strings.Fields(line("/proc/pressure/cpu")) {
		if v, ok := strings.CutPrefix(f, "avg60="); ok {
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				return &n
			}
		}
	}
	return nil
}
