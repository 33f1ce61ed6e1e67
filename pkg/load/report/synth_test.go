package report

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tracker/pkg/load"
)

// synth makes a result as a run of so many seconds would: steady, with a stall in the
// middle, equal on all machines for equal seeds.
func synth(seed uint64, seconds int, slower float64) *load.Result {
	rnd := rand.New(rand.NewPCG(seed, 7))
	r := load.NewResult("0.3.0", "ingest")
	r.ID, r.Tool.Go = "019a2b3c4d5e6f70", "go1.26.8"
	r.Started = load.Instant{Time: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC).Add(time.Duration(seed) * time.Minute)}
	r.DurationNS = int64(seconds) * 1e9
	r.Scenario.Args = map[string]any{"rate": "2k", "watch": true, "devices": 1000}
	r.Scenario.Seed = seed
	r.Target = load.Target{Addr: "127.0.0.1:4810", Kind: "trackerd", Version: "0.3.0"}
	r.Env = load.Env{Fingerprint: "sha256:0123456789abcdef", OS: "linux/amd64", CPU: "AMD EPYC", Cores: 2, GoMaxProcs: 2, GOGC: 400, Kernel: "6.18"}
	r.Command = []string{"trackbench", "ingest", "--rate", "2k", "--watch", "--duration", "60s", "--threshold", "p99<60ms"}
	r.Labels = map[string]string{"commit": "a1b2c3d"}
	response, service, lag := load.NewRecorder(), load.NewRecorder(), load.NewRecorder()
	for sec := range seconds {
		synthSecond(r, rnd, sec, seconds, slower, response, service, lag)
	}
	r.Latency["response"], r.Latency["service"], r.Latency["send_lag"] = response.Summary(), service.Summary(), lag.Summary()
	c := &r.Counts
	c.Planned, c.Accepted = int64(2000*seconds), c.Sent
	c.Deliveries = &load.Deliveries{Expected: c.Sent, Received: c.Sent, Frames: c.Sent / 80}
	c.BytesOut = 51 * c.Sent
	r.Rates = map[string]float64{"offered_per_s": 2000, "achieved_per_s": float64(c.Sent) / float64(seconds), "accepted_per_s": float64(c.Sent) / float64(seconds)}
	r.Resources.Client = load.ClientUsage{CPUSeconds: 0.41 * float64(seconds), RSS: 81 << 20, GCPauseMaxNS: 310_000, SchedP99NS: 90_000}
	r.Resources.Server = &load.ServerUsage{CPUSeconds: 0.38 * float64(seconds), RSS: 66 << 20}
	r.Calibration.TimerOvershootP99 = 89_000
	r.Verdict.Warn("W08", load.Info, nil, "loopback, and both sides share the machine: not comparable with a network")
	r.Checks = []load.Check{{Kind: "threshold", Name: "p50<60ms", Pass: true, Text: "it was 22 ms"}}
	return r
}

func synthSecond(r *load.Result, rnd *rand.Rand, sec, seconds int, slower float64, response, service, lag *load.Recorder) {
	const rate = 2000
	iv := load.Interval{TNS: int64(sec) * 1e9, LenNS: 1e9, Offered: rate, Sent: rate, Received: rate}
	one := load.NewRecorder()
	stalled := seconds >= 20 && sec == seconds/2
	if stalled {
		iv.Sent, iv.Received, iv.Marks = rate-300, rate-300, []string{"W07"}
	} else if seconds >= 20 && sec == seconds/2+1 {
		iv.Sent, iv.Received = rate+300, rate+300
	}
	worst := time.Duration(0)
	for range iv.Sent {
		d := time.Duration(slower * (2e6 + 40e6*rnd.Float64() + 3e6*math.Abs(rnd.NormFloat64())))
		late := time.Duration(60e3 * rnd.ExpFloat64())
		if stalled {
			late += time.Duration(700e6 * rnd.Float64())
		}
		worst = max(worst, late)
		const step = 500 * time.Microsecond // few different values keep tests fast
		one.Record((d + late).Round(step))
		response.Record((d + late).Round(step))
		service.Record(d.Round(step))
		lag.Record(late.Round(20 * time.Microsecond))
	}
	iv.HDR = one.Summary().HDR
	client, server := 0.4+0.03*rnd.NormFloat64(), 0.38+0.02*rnd.NormFloat64()
	if stalled {
		client, server = 0.2, 0.1
	}
	p99, top := int64(worst*9/10), int64(worst)
	iv.ClientCPU, iv.ServerCPU, iv.LagP99NS, iv.LagMaxNS = &client, &server, &p99, &top
	r.Counts.Sent += iv.Sent
	r.Intervals = append(r.Intervals, iv)
}

// fileOf is a result as it is read from a file.
func fileOf(t testing.TB, r *load.Result) *File {
	t.Helper()
	f, err := of(r)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
