package load

import (
	"errors"
	"strings"
	"testing"
	"time"

	"tracker/pkg/track"
)

func TestThresholdsHoldAResult(t *testing.T) {
	r := NewResult("x", "y")
	r.DurationNS = int64(10 * time.Second)
	r.Counts.Sent, r.Counts.Lost, r.Counts.Errors["reset"] = 1000, 5, 3
	r.Rates["accepted_per_s"], r.Rates["elapsed_ratio"] = 9500, 1.01
	r.Latency["response"], r.Latency["service"] = *times(1000, 2*ms, 8*ms), *times(1000, ms)
	r.Resources.Server = &ServerUsage{CPUSeconds: 5, RSS: 100 << 20}
	r.Resources.Client.CPUSeconds = 8
	for text, want := range map[string]bool{
		"p50<3ms": true, "p50<1ms": false, "p50 <= 3ms": true, "p99>5ms": true, "max<9ms": true, "max>=9ms": false, "p99.9<1h": false,
		"service.p99<1.5ms": true, "service.max>1s": false,
		"loss<1%": true, "loss<0.1%": false, "loss>0.004": true, "rate>9k": true, "rate>=10k/s": false,
		"cpu<0.6": true, "cpu<0.4": false, "client-cpu<0.9": true, "rss<128MiB": true, "rss<100MB": false,
		"errors<4": true, "errors<=2": false, "elapsed<1.02x": true, "elapsed<1": false, "deliveries>1": false,
	} {
		th, err := ParseThreshold(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if c := th.Check(r); c.Pass != want || c.Name != text || c.Kind != "threshold" {
			t.Errorf("got %+v, want %v", c, want)
		}
	}
	th, _ := ParseThreshold("connect.p50<1s")
	if c := th.Check(r); c.Pass || c.Text != "not measured" {
		t.Errorf("what was not measured is not met: %+v", c)
	}
}

func TestThresholdsRefuseNonsense(t *testing.T) {
	for _, text := range []string{
		"", "p99", "p99=1ms", "<1ms", "p98<1ms", "p99<", "p99<5", "p99<nan", "p99<-5ms", "p99<infs", "loss<nan", "loss<inf", "loss<-1%", "loss<2",
		"rate>nan", "rate>-1", "rate>inf", "cpu<nan", "cpu<inf", "cpu<-1", "rss<-5MB", "rss<NaNMB", "rss<infB", "errors<x", "elapsed<infx", ".p99<1ms", "service.rate>1",
		"p99<5ms,loss<1%",
	} {
		_, err := ParseThreshold(text)
		if !errors.Is(err, track.ErrInvalid) || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("%q: got %v", text, err)
		}
	}
	if all, err := ParseThresholds("p99<20ms, loss<0.1%"); err != nil || len(all) != 2 {
		t.Errorf("got %v, %v", all, err)
	}
	if _, err := ParseThresholds("p99<20ms,"); err == nil {
		t.Error("an empty one was taken")
	}
}

func FuzzParseThreshold(f *testing.F) {
	for _, s := range []string{"p99<5ms", "service.p50>=1us", "loss<0.1%", "rss<64MiB", "rate>1k/s", "elapsed<1.02x", "x<y"} {
		f.Add(s)
	}
	r := NewResult("x", "y")
	f.Fuzz(func(t *testing.T, s string) {
		th, err := ParseThreshold(s)
		if err != nil {
			return
		}
		if !(th.value >= 0) || th.String() != s {
			t.Errorf("%q came out as %v, %v", s, th.value, th)
		}
		th.Check(r)
	})
}

func FuzzParsePlan(f *testing.F) {
	for _, s := range []string{"100", "2.5k/s", "1k:10k:30s", "1k@10s,5k@10s", "burst:500@1s", "burst:1@1ns", "1e99"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlan(s)
		if err != nil {
			return
		}
		if p.Due(time.Second) < 1 || p.Peak() <= 0 || p.When(1) < 0 {
			t.Errorf("%q: %d due, peak %v", s, p.Due(time.Second), p.Peak())
		}
		again, err := ParsePlan(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q is written as %q, which reads as %q, %v", s, p, again, err)
		}
	})
}

func TestSecretsAreLeftOut(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"rpc --token abc --conns 4", "rpc --token REDACTED --conns 4"},
		{"rpc --token=abc", "rpc --token=REDACTED"},
		{"rpc --token-file data/admin.token", "rpc --token-file data/admin.token"},
		{"fanout --addr ws://me:pw@host:1/v1?access_token=abc&x=1", "fanout --addr ws://REDACTED@host:1/v1?access_token=REDACTED&x=1"},
		{"fanout --addr=ws://me:pw@host:1/", "fanout --addr=ws://REDACTED@host:1/"},
		{"x http://me:p%zz@host/", "x http://REDACTED@host/"},
		{"ingest --threshold p99<5ms --state /tmp/keys.json", "ingest --threshold p99<5ms --state /tmp/keys.json"},
		{"x --seed 7 --tls-key k.pem", "x --seed 7 --tls-key k.pem"},
	} {
		if got := strings.Join(RedactArgs(strings.Fields(tc.in)), " "); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
	r := NewResult("x", "y")
	r.Target.Addr = "ws://a:b@c:1"
	r.Scenario.Args = map[string]any{"token": "abc", "url": "http://a:b@c/", "n": 3}
	r.Redact()
	if r.Target.Addr != "ws://REDACTED@c:1" || r.Scenario.Args["token"] != hidden || r.Scenario.Args["url"] != "http://REDACTED@c/" || r.Scenario.Args["n"] != 3 {
		t.Errorf("got %+v %+v", r.Target, r.Scenario)
	}
}
