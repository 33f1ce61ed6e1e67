package build

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The script is run in a repository of its own, with a Go command that makes a trackbench
// which only tells what it was asked, writes a summary, and ends as it is told.
const (
	fakeGo = `#!/bin/sh
[ "$1" = build ] && [ "$2" = -o ] && [ "$4" = ./cmd/trackbench ] || exit 99
cp "$(dirname "$0")/trackbench" "$3"
`
	fakeBench = `#!/bin/sh
printf '%s\n' "$@" >"$ASKED"
echo 'verdict'
for arg in "$@"; do
	case $arg in md=*) echo '# The gate says' >"${arg#md=}" ;; esac
done
exit "$CODE"
`
)

type scripted struct {
	dir, asked, summary string
}

func script(t testing.TB) scripted {
	t.Helper()
	s := scripted{house(t), filepath.Join(t.TempDir(), "asked"), filepath.Join(t.TempDir(), "summary")}
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "scripts", "gate"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s.dir, "scripts/gate", string(text))
	put(t, s.dir, ".gitignore", "/bench-results/\n")
	commitAll(t, s.dir, "the script")
	tools := t.TempDir()
	put(t, tools, "go", fakeGo)
	put(t, tools, "trackbench", fakeBench)
	for _, name := range []string{"go", "trackbench"} {
		if err := os.Chmod(filepath.Join(tools, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("ASKED", s.asked)
	t.Setenv("GITHUB_STEP_SUMMARY", s.summary)
	return s
}

// gate runs the script, and returns what trackbench was asked, what it said, and its exit
// code.
func (s scripted) gate(t testing.TB, code int, args ...string) (asked []string, said string, got int) {
	t.Helper()
	t.Setenv("CODE", fmt.Sprint(code))
	_ = os.Remove(s.asked)
	cmd := exec.Command("sh", append([]string{filepath.Join(s.dir, "scripts", "gate")}, args...)...)
	cmd.Dir = t.TempDir() // it finds its tree by itself
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(s.asked); err == nil {
		asked = strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	return asked, string(out), got
}

func TestScriptComparesWithWhereTheBranchBegan(t *testing.T) {
	s := script(t)
	run(t, s.dir, "git", "tag", "v1")
	put(t, s.dir, "a", "a")
	began := commitAll(t, s.dir, "on main")
	run(t, s.dir, "git", "update-ref", "refs/remotes/origin/main", "HEAD~1")

	base := func(why, want string, args ...string) {
		t.Helper()
		asked, said, code := s.gate(t, 0, args...)
		if code != 0 || len(asked) < 3 || !slices.Equal(asked[:3], []string{"gate", "--base-ref", want}) {
			t.Errorf("%s: exit %d, asked %q, want --base-ref %s\n%s", why, code, asked, want, said)
		}
	}
	resolve := func(rev string) string { return run(t, s.dir, "git", "rev-parse", rev) }

	base("ahead of origin/main", resolve("v1"))
	run(t, s.dir, "git", "update-ref", "-d", "refs/remotes/origin/main")
	base("on main, nothing changed", resolve("v1"))
	put(t, s.dir, "b", "b")
	base("on main, files changed", began)
	run(t, s.dir, "git", "checkout", "--quiet", "-b", "change")
	commitAll(t, s.dir, "on a branch")
	base("on a branch", began)
	base("a revision by name", resolve("v1"), "v1", "--budget", "5m")
	run(t, s.dir, "git", "checkout", "--quiet", "v1")
	base("a branch that went on, too", resolve("v1"), "change")
}

func TestScriptPassesFlagsOnAndKeepsResults(t *testing.T) {
	s := script(t)
	asked, said, code := s.gate(t, 0, "HEAD", "--budget", "5m", "--label", "a b")
	if code != 0 || !slices.Equal(asked[3:6], []string{"--budget", "5m", "--label"}) || asked[6] != "a b" {
		t.Fatalf("exit %d, asked %q\n%s", code, asked, said)
	}
	var kinds []string
	for _, arg := range asked {
		if kind, file, is := strings.Cut(arg, "="); is {
			kinds = append(kinds, kind+" "+filepath.Base(file))
		}
	}
	if want := []string{"json gate.json", "junit junit.xml", "md summary.md", "html gate.html"}; !slices.Equal(kinds, want) {
		t.Errorf("results are %q, want %q", kinds, want)
	}
	kept, err := filepath.Glob(filepath.Join(s.dir, "bench-results", "gate-*", "summary.md"))
	if err != nil || len(kept) != 1 {
		t.Errorf("kept %q, %v", kept, err)
	}
	if text, _ := os.ReadFile(s.summary); string(text) != "# The gate says\n" {
		t.Errorf("the step's summary is %q", text)
	}
}

func TestScriptEndsAsTheGateDoes(t *testing.T) {
	s := script(t)
	for _, want := range []int{0, 1, 2, 3, 4, 5, 70, 130} {
		if _, said, got := s.gate(t, want, "HEAD"); got != want {
			t.Errorf("exit %d, want %d\n%s", got, want, said)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "tracker-gate.*")); len(left) != 0 {
		t.Errorf("%q stays behind", left)
	}
}

func TestScriptNamesNoBaseWhereThereIsOne(t *testing.T) {
	s := script(t)
	for _, args := range [][]string{{"--selftest", "--quick"}, {"--base", "a", "--head", "b"}, {"--base=a"}, {"--base-ref=v1"}} {
		asked, said, code := s.gate(t, 0, args...)
		if want := append([]string{"gate"}, args...); code != 0 || !slices.Equal(asked[:len(want)], want) {
			t.Errorf("%q: exit %d, asked %q\n%s", args, code, asked, said)
		}
	}
}

// A self-test has no report of two binaries, but something to say all the same.
func TestScriptKeepsWhatASelfTestSays(t *testing.T) {
	s := script(t)
	asked, said, code := s.gate(t, 1, "--selftest")
	if code != 1 || !strings.Contains(said, "verdict\n") || len(asked) != 4 || filepath.Base(asked[3]) != "selftest.json" {
		t.Errorf("exit %d, asked %q\n%s", code, asked, said)
	}
	if text, _ := os.ReadFile(s.summary); string(text) != "```\nverdict\n```\n" {
		t.Errorf("the step's summary is %q", text)
	}
}

func TestScriptRefusesWithTheNextStep(t *testing.T) {
	s := script(t)
	run(t, s.dir, "git", "checkout", "--quiet", "--orphan", "lone")
	commitAll(t, s.dir, "apart")
	for _, c := range []struct {
		args       []string
		says, next string
	}{
		{[]string{"nowhere"}, "no revision nowhere", "git fetch"},
		{[]string{"main", "--selftest"}, "exclude each other", "--help"},
		{[]string{"main"}, "no common history", "fetch-depth: 0"},
	} {
		asked, said, code := s.gate(t, 0, c.args...)
		if code != 2 || asked != nil || !strings.Contains(said, c.says) || !strings.Contains(said, "gate: hint: ") || !strings.Contains(said, c.next) {
			t.Errorf("%q: exit %d, asked %q, said\n%s", c.args, code, asked, said)
		}
	}
	run(t, s.dir, "git", "branch", "--quiet", "-D", "main")
	if _, said, code := s.gate(t, 0); code != 2 || !strings.Contains(said, "neither origin/main nor main") {
		t.Errorf("without a main: exit %d\n%s", code, said)
	}
	run(t, s.dir, "git", "branch", "main")
	if _, said, code := s.gate(t, 0); code != 2 || !strings.Contains(said, "nothing before HEAD") {
		t.Errorf("at the first commit: exit %d\n%s", code, said)
	}
}

func TestScriptHelpsWithAnExampleFirst(t *testing.T) {
	s := script(t)
	asked, said, code := s.gate(t, 0, "--help")
	example, rule := strings.Index(said, "scripts/gate v1.2"), strings.Index(said, "Without REV")
	if code != 0 || asked != nil || example < 0 || rule < example || strings.Contains(said, "set -eu") || !strings.Contains(said, "nothing else.") {
		t.Errorf("exit %d, asked %q, help is\n%s", code, asked, said)
	}
}
