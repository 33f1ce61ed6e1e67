package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func parse(t *testing.T, file string, args ...string) (*options, error) {
	t.Helper()
	var o options
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	o.bind(flags)
	if file != "" {
		path := filepath.Join(t.TempDir(), "trackerd.conf")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &o, o.settle(flags)
}

func TestFlagWinsOverEnvironmentOverFile(t *testing.T) {
	const file = "# ours\nkeep-days = 10\ntick = 10ms\ndata = /from/file\n"
	t.Setenv("TRACKERD_KEEP_DAYS", "20")
	t.Setenv("TRACKERD_TICK", "20ms")
	o, err := parse(t, file, "--keep-days", "30")
	if err != nil {
		t.Fatal(err)
	}
	if o.keep != 30 || o.Engine.Hub.Tick.String() != "20ms" || o.Data != "/from/file" {
		t.Errorf("keep %d, tick %v, data %q; want 30, 20ms, /from/file", o.keep, o.Engine.Hub.Tick, o.Data)
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	for _, tt := range []struct {
		file string
		args []string
		want []string
	}{
		{"kep-days = 3\ntick = soon\nnonsense\n", nil, []string{`NAME = VALUE`}},
		{"kep-days = 3\ntick = soon\n", nil, []string{"kep-days", "tick"}},
		{"", []string{"--listen", "4810", "--udp", ":99999", "--tls", "maybe", "--tls-cert", "c.pem", "--device-rate", "-1"},
			[]string{"data:", "listen:", "udp:", "tls:", "tls-cert", "a second"}},
		{"", []string{"--data", "d", "--advertise", "no such host"}, []string{"advertise"}},
	} {
		_, err := parse(t, tt.file, tt.args...)
		if err == nil {
			t.Errorf("%q %q: no error", tt.file, tt.args)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q %q: error does not name %q:\n%v", tt.file, tt.args, want, err)
			}
		}
	}
}

func TestSettingsFileFromTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "trackerd.conf")
	if err := os.WriteFile(path, []byte("data = /from/file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TRACKERD_CONFIG", path)
	o, err := parse(t, "")
	if err != nil || o.Data != "/from/file" {
		t.Errorf("data %q, %v; want /from/file", o.Data, err)
	}
}

func TestSettingsFileThatIsAnotherFile(t *testing.T) {
	_, err := parse(t, "data = d\n"+strings.Repeat("# a comment\n", maxSettings/10)+"keep-days = 30\n")
	if err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("a file of more than 64 KiB: %v; want a refusal, not a part of it", err)
	}
	if _, err := parse(t, "data = d\nconfig = other.conf\n"); err == nil {
		t.Error("a settings file may name another, which nobody reads")
	}
}

func TestZeroIsNotTheDefault(t *testing.T) {
	o, err := parse(t, "", "--data", "d", "--grace", "0")
	if err != nil || o.Engine.Grace <= 0 || o.Engine.Grace >= time.Second {
		t.Errorf("grace 0 became %v, %v; want a rotated key to end at once", o.Engine.Grace, err)
	}
	for _, name := range []string{"commit-every", "tick", "max-unauthenticated", "device-rate", "device-burst", "device-fixes"} {
		if _, err := parse(t, "", "--data", "d", "--"+name, "0"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("--%s 0: %v; want a refusal", name, err)
		}
	}
	for _, name := range []string{"keep-days", "commit-every", "tick", "max-unauthenticated", "readers", "grace"} {
		value := "-1"
		if name == "tick" || name == "commit-every" || name == "grace" {
			value = "-1s"
		}
		if _, err := parse(t, "", "--data", "d", "--"+name, value); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("--%s %s: %v; want a refusal", name, value, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"64MiB": 64 << 20, "512KiB": 512 << 10, "1GiB": 1 << 30, "7B": 7, "0": 0} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want || s.String() != text {
			t.Errorf("%s: %d, %s, %v", text, s, s.String(), err)
		}
	}
	for _, text := range []string{"", "64", "MiB", "-1MiB", "64MB", "99999999999GiB"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q was taken as %d", text, s)
		}
	}
}

func TestEverySettingIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var o options
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	o.bind(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(string(page), "`"+f.Name+"`") {
			t.Errorf("docs/operations.md does not mention %s", f.Name)
		}
	})
}
