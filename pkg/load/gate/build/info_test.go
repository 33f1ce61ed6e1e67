package build

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// fields makes an Info that differs from others only in what a test says.
func fields(change func(*Info)) Info {
	i := Info{
		Path: "trackerd", SHA256: "aa", Go: "go1.26.8", Main: "tracker/cmd/trackerd",
		Settings: map[string]string{"GOOS": "linux", "GOARCH": "amd64", "GOAMD64": "v1", "CGO_ENABLED": "1", "-compiler": "gc"},
		modules:  map[string]string{"example.org/a": "v1.0.0"},
	}
	change(&i)
	return i
}

func setting(key, value string) func(*Info) { return func(i *Info) { i.Settings[key] = value } }

func TestDifferentBuildsAreRefusedByName(t *testing.T) {
	base := fields(func(*Info) {})
	for _, c := range []struct {
		change func(*Info)
		want   string
	}{
		{func(i *Info) { i.Go = "go1.25.1" }, "base was built with go1.26.8, head with go1.25.1"},
		{setting("-race", "true"), "base was built without -race, head with -race=true"},
		{setting("-cover", "true"), "head with -cover=true"},
		{setting("-msan", "true"), "head with -msan=true"},
		{setting("-tags", "netgo"), "base was built without -tags, head with -tags=netgo"},
		{setting("-gcflags", "-N -l"), "head with -gcflags=-N -l"},
		{setting("-asmflags", "-D x"), "head with -asmflags=-D x"},
		{setting("-ldflags", "-s -w"), "head with -ldflags=-s -w"},
		{setting("-buildmode", "pie"), "head with -buildmode=pie"},
		{setting("-compiler", "gccgo"), "base was built with -compiler=gc, head with -compiler=gccgo"},
		{setting("-trimpath", "true"), "head with -trimpath=true"},
		{setting("-pgo", "fast.pgo"), "head with -pgo=fast.pgo"},
		{setting("CGO_ENABLED", "0"), "base was built with CGO_ENABLED=1, head with CGO_ENABLED=0"},
		{setting("GOAMD64", "v3"), "base was built with GOAMD64=v1, head with GOAMD64=v3"},
		{setting("GOEXPERIMENT", "arenas"), "head with GOEXPERIMENT=arenas"},
		{setting("-newflag", "x"), "head with -newflag=x"}, // whatever a Go to come records
	} {
		err := Compare(base, fields(c.change))
		if !errors.Is(err, ErrUnlike) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error is %v, want %q in it", err, c.want)
			continue
		}
		if Hint(err) == "" {
			t.Errorf("%v comes without the next step", err)
		}
	}
}

func TestEveryDifferenceIsNamed(t *testing.T) {
	err := Compare(fields(func(i *Info) { i.Go = "go1.26.8" }), fields(func(i *Info) {
		i.Go, i.Settings["CGO_ENABLED"], i.Settings["-race"] = "go1.25.1", "0", "true"
	}))
	for _, want := range []string{"go1.25.1", "CGO_ENABLED=0", "-race=true"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}

func TestWhatTheSourceBringsIsToldAndNotRefused(t *testing.T) {
	base := fields(func(*Info) {})
	head := fields(func(i *Info) {
		i.SHA256 = "bb"
		i.Settings["DefaultGODEBUG"] = "madvdontneed=0"
		i.Settings["-pgo"] = "default.pgo"
		i.modules = map[string]string{"example.org/a": "v1.1.0", "example.org/b": "v0.1.0"}
	})
	if err := Compare(base, head); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"the change brings a head with -pgo=default.pgo; base was built without -pgo",
		"the change brings a head with DefaultGODEBUG=madvdontneed=0; base was built without DefaultGODEBUG",
		"the change moves example.org/a from v1.0.0 to v1.1.0",
		"the change adds example.org/b v0.1.0",
	}
	if got := Changes(base, head); !slices.Equal(got, want) {
		t.Errorf("changes are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := Changes(head, base); !slices.Contains(got, "the change drops example.org/b v0.1.0") {
		t.Errorf("changes are %q, want that b is dropped", got)
	}
}

func TestInstrumentedBuildsAreToldOf(t *testing.T) {
	i := fields(setting("-race", "true"))
	if err := Compare(i, i); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(Changes(i, i), "\n"); !strings.Contains(got, "-race") {
		t.Errorf("changes are %q, want the race detector in them", got)
	}
}

func TestStampsAreNoDifference(t *testing.T) {
	of := func(settings ...string) Info {
		told := &debug.BuildInfo{GoVersion: "go1.26.8", Path: "tracker/cmd/trackerd"}
		for k := 0; k < len(settings); k += 2 {
			told.Settings = append(told.Settings, debug.BuildSetting{Key: settings[k], Value: settings[k+1]})
		}
		return infoOf(told)
	}
	base := of("-ldflags", "-s -X main.version=v1.0.0 -X 'main.date=1 May 2026' -w", "-tags", "netgo,osusergo",
		"-pgo", "/home/a/fast.pgo", "vcs", "git", "vcs.revision", "aaaa", "vcs.time", "2026-05-01T00:00:00Z", "vcs.modified", "true")
	head := of("-ldflags", `-s --X=main.version=v1.1.0 "-X=main.date=2 May 2026" -w`, "-tags", "osusergo,netgo,netgo",
		"-pgo", "/home/b/fast.pgo", "vcs", "git", "vcs.revision", "bbbb", "vcs.time", "2026-05-02T00:00:00Z", "vcs.modified", "false")
	if err := Compare(base, head); err != nil {
		t.Error(err)
	}
	want := map[string]string{"-ldflags": "-s -w", "-tags": "netgo,osusergo", "-pgo": "fast.pgo"}
	if !maps.Equal(base.Settings, want) {
		t.Errorf("settings are %v, want %v", base.Settings, want)
	}
	if base.Commit != "aaaa+dirty" || head.Commit != "bbbb" {
		t.Errorf("commits are %q and %q, want aaaa+dirty and bbbb", base.Commit, head.Commit)
	}
	if stamped := of("-ldflags", "-X main.version=v1"); len(stamped.Settings) != 0 {
		t.Errorf("a stamp alone leaves %v", stamped.Settings)
	}
}

func TestInspectReadsWhatTheGoCommandWrote(t *testing.T) {
	dir, out := house(t), t.TempDir()
	commit := run(t, dir, "git", "rev-parse", "HEAD")
	file := filepath.Join(out, "trackerd")
	run(t, dir, "go", "build", "-buildvcs=true", "-tags=b,a", "-gcflags=-l", "-ldflags=-s -X main.version=v1", "-o", file, "./cmd/trackerd")
	i := inspected(t, file)
	if i.Go != runtime.Version() || i.Main != "tracker/cmd/trackerd" || i.Commit != commit || len(i.SHA256) != 64 {
		t.Errorf("info is %+v", i)
	}
	for key, want := range map[string]string{"GOOS": runtime.GOOS, "GOARCH": runtime.GOARCH, "-tags": "a,b", "-gcflags": "-l", "-ldflags": "-s"} {
		if i.Settings[key] != want {
			t.Errorf("%s is %q, want %q", key, i.Settings[key], want)
		}
	}
	other := filepath.Join(out, "other", "trackerd")
	run(t, dir, "go", "build", "-tags=a,b", "-o", other, "./cmd/trackerd")
	err := Compare(i, inspected(t, other))
	if err == nil || !strings.Contains(err.Error(), "-gcflags=-l") || strings.Contains(err.Error(), "-tags") {
		t.Errorf("error is %v, want one of the flags and not of the tags", err)
	}
}

func TestWhatIsNoServerOfOursIsRefused(t *testing.T) {
	dir, out := house(t), t.TempDir()
	put(t, dir, "cmd/other/main.go", fmt.Sprintf(program, "other"))
	other, foreign, plain := filepath.Join(out, "other"), filepath.Join(out, "foreign"), filepath.Join(out, "plain")
	run(t, dir, "go", "build", "-o", other, "./cmd/other")
	t.Setenv("GOOS", "windows")
	t.Setenv("CGO_ENABLED", "0")
	run(t, dir, "go", "build", "-o", foreign, "./cmd/trackerd")
	t.Setenv("GOOS", runtime.GOOS)
	run(t, dir, "go", "build", "-o", plain, "./cmd/trackerd")
	put(t, out, "script", "#!/bin/sh\nexec trackerd\n")
	for file, mode := range map[string]os.FileMode{plain: 0o644, foreign: 0o755, filepath.Join(out, "script"): 0o755} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ file, says, next string }{
		{"missing", "no such file", "go build"},
		{"", "directory", "trackerd"},
		{"other", "not a trackerd: it was built from tracker/cmd/other", "./cmd/trackerd"},
		{"foreign", "it is for windows/", ""},
		{"script", "not a Go program", "not a script"},
		{"plain", "not executable", "chmod +x"},
	} {
		file := filepath.Join(out, c.file)
		_, err := Inspect(file)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Count(err.Error(), file) != 1 {
			t.Errorf("error is %v, want the file once and %q", err, c.says)
		}
		if !strings.Contains(Hint(err), c.next) {
			t.Errorf("hint of %q is %q, want %q in it", err, Hint(err), c.next)
		}
	}
}

// The test's own binary stands for any file that begins as a program does.
func FuzzBuildInfo(f *testing.F) {
	self, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	told, err := buildinfo.ReadFile(self)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(told.String())
	f.Add("path\tx/trackerd\nbuild\t-ldflags=\"-X\"\nbuild\t-tags=,, ,\ndep\ta\tv1\n=>\t../a\n")
	f.Fuzz(func(t *testing.T, text string) {
		told, err := debug.ParseBuildInfo(text)
		if err != nil {
			return
		}
		i := infoOf(told)
		if err := alike(i, i); err != nil {
			t.Errorf("not like itself: %v", err)
		}
		if _, there := i.Settings["vcs.revision"]; there {
			t.Error("the commit counts as a setting")
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add(`-s -w -X 'main.date=1 May' "-X=a b" -extldflags "-static`)
	f.Fuzz(func(t *testing.T, flags string) {
		all := words(flags)
		if kept := withoutStamps(all); len(kept) > len(all) {
			t.Errorf("%q became %q", all, kept)
		}
		for _, w := range all {
			if !strings.Contains(flags, w) {
				t.Errorf("%q is not in %q", w, flags)
			}
		}
	})
}
