package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// program is a trackerd that says NAME.
const program = "package main\n\nfunc main() { println(%q) }\n"

// house is a repository of its own with a module in it, whose only commit has a program
// that says "one".
func house(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("skip: git is not installed")
	}
	// The user's settings, such as signed commits, are not those of the tests.
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "somebody")
		t.Setenv("GIT_"+who+"_EMAIL", "somebody@example.org")
	}
	// Checkouts are made here, so that a test sees what is left of them.
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	run(t, dir, "git", "init", "--quiet", "--initial-branch=main")
	put(t, dir, "go.mod", "module tracker\n\ngo 1.26.0\n")
	put(t, dir, "cmd/trackerd/main.go", fmt.Sprintf(program, "one"))
	commitAll(t, dir, "one")
	return dir
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func commitAll(t testing.TB, dir, message string) string {
	t.Helper()
	run(t, dir, "git", "add", "--all")
	run(t, dir, "git", "commit", "--quiet", "--message", message)
	return run(t, dir, "git", "rev-parse", "HEAD")
}

// nothingIsLeft checks that no checkout stays behind, neither as files nor in git's list.
func nothingIsLeft(t testing.TB, dir string) {
	t.Helper()
	left, err := os.ReadDir(os.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		if strings.HasPrefix(l.Name(), "trackbench-") {
			t.Errorf("%s was left behind", l.Name())
		}
	}
	if list := run(t, dir, "git", "worktree", "list", "--porcelain"); strings.Count(list, "worktree ") != 1 {
		t.Errorf("git still knows of other worktrees:\n%s", list)
	}
}

func says(t testing.TB, file, want string) {
	t.Helper()
	if got := run(t, ".", file); got != want {
		t.Errorf("%s says %q, want %q", filepath.Base(file), got, want)
	}
}

func TestRevisionIsBuiltWhileTheTreeHoldsSomethingElse(t *testing.T) {
	dir, out := house(t), t.TempDir()
	first := run(t, dir, "git", "rev-parse", "HEAD")
	put(t, dir, "cmd/trackerd/main.go", fmt.Sprintf(program, "two"))
	second := commitAll(t, dir, "two")
	put(t, dir, "cmd/trackerd/main.go", fmt.Sprintf(program, "three"))
	put(t, dir, "notes.txt", "not in git")
	before := run(t, dir, "git", "status", "--porcelain", "--branch")

	var told []string
	o := Options{Progress: func(line string) { told = append(told, line) }}
	base, commit, err := Revision(t.Context(), filepath.Join(dir, "cmd"), "main~1", out, o)
	if err != nil {
		t.Fatal(err)
	}
	if commit != first {
		t.Errorf("built commit %s, want %s", commit, first)
	}
	says(t, base, "one")
	head, commit, err := Tree(t.Context(), dir, out, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := second + "+dirty"; commit != want {
		t.Errorf("built the tree of %s, want %s", commit, want)
	}
	says(t, head, "three")
	says(t, base, "one") // still: each has a file of its own

	if after := run(t, dir, "git", "status", "--porcelain", "--branch"); after != before {
		t.Errorf("the user's checkout is\n%s\nand was\n%s", after, before)
	}
	if len(told) < 4 || !strings.Contains(told[0], first[:12]) {
		t.Errorf("told %q, want each step, the first with the commit", told)
	}
	nothingIsLeft(t, dir)
}

func TestEqualSourcesGiveEqualBytes(t *testing.T) {
	dir, out := house(t), t.TempDir()
	base, _, err := Revision(t.Context(), dir, "HEAD", out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	head, _, err := Tree(t.Context(), dir, out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, h := inspected(t, base), inspected(t, head)
	if b.SHA256 != h.SHA256 {
		t.Errorf("base is %s and head %s: where they were built makes a difference", b.SHA256, h.SHA256)
	}
	if err := Compare(b, h); err != nil {
		t.Error(err)
	}
	if notes := Changes(b, h); len(notes) != 1 || !strings.Contains(notes[0], "byte for byte") {
		t.Errorf("notes are %q, want that both are the same", notes)
	}
}

func TestModuleBelowTheTopOfItsRepository(t *testing.T) {
	dir, out := house(t), t.TempDir()
	put(t, dir, "server/go.mod", "module inner\n\ngo 1.26.0\n")
	put(t, dir, "server/cmd/trackerd/main.go", fmt.Sprintf(program, "inner"))
	commitAll(t, dir, "a module in a module")
	file, _, err := Revision(t.Context(), filepath.Join(dir, "server"), "HEAD", out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	says(t, file, "inner")
}

func TestTreeNeedsNoRepository(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "go.mod", "module tracker\n\ngo 1.26.0\n")
	put(t, dir, "cmd/trackerd/main.go", fmt.Sprintf(program, "one"))
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(dir))
	file, commit, err := Tree(t.Context(), dir, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if commit != "" {
		t.Errorf("commit is %q where there is none", commit)
	}
	says(t, file, "one")
}

// Looking whether a tree is changed makes git note in its index what it has looked at.
func TestUsersIndexIsNotRefreshed(t *testing.T) {
	dir := house(t)
	index := filepath.Join(dir, ".git", "index")
	then := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "go.mod"), then, then); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	_, commit, err := Tree(t.Context(), dir, t.TempDir(), Options{})
	if err != nil || strings.HasSuffix(commit, "+dirty") {
		t.Errorf("tree of %q, %v, want an unchanged one", commit, err)
	}
	if after, _ := os.ReadFile(index); string(after) != string(before) {
		t.Error("the user's index was written")
	}
}

func TestFaultIsBuiltInOnlyWhenAskedFor(t *testing.T) {
	dir, out := house(t), t.TempDir()
	put(t, dir, "cmd/trackerd/main.go", "package main\n\nvar name = \"sound\"\n\nfunc main() { println(name) }\n")
	put(t, dir, "cmd/trackerd/fault.go", "//go:build benchfault\n\npackage main\n\nfunc init() { name = \"faulty\" }\n")
	sound, _, err := Tree(t.Context(), dir, out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	faulty, _, err := WithFault(t.Context(), dir, out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	says(t, sound, "sound")
	says(t, faulty, "faulty")
	s, f := inspected(t, sound), inspected(t, faulty)
	if s.HasFault() || !f.HasFault() {
		t.Errorf("HasFault is %v and %v, want false and true", s.HasFault(), f.HasFault())
	}
	for _, pair := range [][2]Info{{s, f}, {f, s}, {f, f}} {
		if err := Compare(pair[0], pair[1]); !errors.Is(err, ErrUnlike) || !strings.Contains(err.Error(), "self-test") {
			t.Errorf("Compare(%s, %s) is %v, want that it refuses the fault", pair[0].Path, pair[1].Path, err)
		}
	}
}

func TestBuildsThatCannotBeSayWhyAndWhatNext(t *testing.T) {
	dir, out := house(t), t.TempDir()
	put(t, dir, "cmd/trackerd/main.go", "package main\n\nfunc main() { nothing() }\n")
	commitAll(t, dir, "does not compile")
	run(t, dir, "git", "rm", "-r", "--quiet", "cmd")
	commitAll(t, dir, "no server")
	copied := filepath.Join(t.TempDir(), "shallow")
	run(t, dir, "git", "clone", "--quiet", "--depth=1", "file://"+dir, copied)
	outside := t.TempDir()
	put(t, outside, "go.mod", "module tracker\n")
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(outside))

	revision := func(dir, rev string, o Options) error {
		_, _, err := Revision(t.Context(), dir, rev, out, o)
		return err
	}
	for _, c := range []struct {
		name       string
		err        error
		says, next string
	}{
		{"no such revision", revision(dir, "nowhere", Options{}), `"nowhere"`, "git fetch"},
		{"a flag for a revision", revision(dir, "--all", Options{}), `"--all"`, "git branch"},
		{"another flag", revision(dir, "--since=yesterday", Options{}), "no such revision", "git branch"},
		{"a file for a revision", revision(dir, "HEAD:go.mod", Options{}), "no such revision", "git branch"},
		{"a shallow clone", revision(copied, "HEAD~1", Options{}), "shallow", "--unshallow"},
		{"does not compile", revision(dir, "HEAD~1", Options{}), "undefined: nothing", "go build"},
		{"no server", revision(dir, "HEAD", Options{}), "has no ./cmd/trackerd", "later revision"},
		{"no repository", revision(outside, "HEAD", Options{}), "not a git repository", "--base and --head"},
		{"no module", revision(t.TempDir(), "HEAD", Options{}), "not in a Go module", "--base and --head"},
		{"no Go", revision(dir, "HEAD~2", Options{Go: filepath.Join(out, "go")}), "there is no Go", "go.dev"},
	} {
		switch {
		case c.err == nil:
			t.Errorf("%s: no error", c.name)
		case !strings.Contains(c.err.Error(), c.says):
			t.Errorf("%s: error is %q, want %q in it", c.name, c.err, c.says)
		case !strings.Contains(Hint(c.err), c.next):
			t.Errorf("%s: hint is %q, want %q in it", c.name, Hint(c.err), c.next)
		}
	}
	nothingIsLeft(t, dir)
}

func TestWithoutGitTheReasonIsTold(t *testing.T) {
	dir := house(t)
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	_, _, err = Revision(t.Context(), dir, "HEAD", t.TempDir(), Options{Go: tool})
	if err == nil || !strings.Contains(err.Error(), "git is not installed") {
		t.Errorf("error is %v", err)
	}
}

// A hook runs with variables that point at the tree and the index of who commits, and
// git would write the checkout into them.
func TestHookLendsUsNothing(t *testing.T) {
	dir := house(t)
	put(t, dir, "cmd/trackerd/main.go", fmt.Sprintf(program, "two"))
	run(t, dir, "git", "add", "--all")
	hooks := filepath.Join(dir, ".git", "hooks")
	put(t, hooks, "post-checkout", "#!/bin/sh\ntouch \"$(dirname \"$0\")/ran\"\n")
	if err := os.Chmod(filepath.Join(hooks, "post-checkout"), 0o755); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, ".git", "index")
	before, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_INDEX_FILE", index)
	t.Setenv("GIT_WORK_TREE", dir)
	t.Setenv("GIT_DIR", filepath.Join(dir, ".git"))
	file, _, err := Revision(t.Context(), dir, "HEAD", t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	says(t, file, "one")
	if after, _ := os.ReadFile(index); string(after) != string(before) {
		t.Error("the user's index was written")
	}
	if _, err := os.Stat(filepath.Join(hooks, "ran")); err == nil {
		t.Error("the user's post-checkout hook ran")
	}
}

func TestOthersWorktreesStay(t *testing.T) {
	dir := house(t)
	away := filepath.Join(t.TempDir(), "away")
	run(t, dir, "git", "worktree", "add", "--quiet", "--detach", away)
	if err := os.Rename(away, away+"-on-another-disk"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Revision(t.Context(), dir, "HEAD", t.TempDir(), Options{}); err != nil {
		t.Fatal(err)
	}
	if list := run(t, dir, "git", "worktree", "list"); !strings.Contains(list, away) {
		t.Errorf("a worktree that is elsewhere now was forgotten:\n%s", list)
	}
}

func TestCheckoutThatGitDoesNotRemoveIsForgotten(t *testing.T) {
	dir := house(t)
	r, err := openRepo(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := r.checkOut(t.Context(), "HEAD")
	if err != nil {
		t.Fatal(err)
	}
	// Without this link git does not take it for a worktree.
	if err := os.Remove(filepath.Join(w.dir, ".git")); err != nil {
		t.Fatal(err)
	}
	if err := w.remove(); err != nil {
		t.Fatal(err)
	}
	nothingIsLeft(t, dir)
}

func TestBuildIsThatOfTheGoThatIsHere(t *testing.T) {
	dir, out := house(t), t.TempDir()
	put(t, dir, "go.mod", "module tracker\n\ngo 1.26.0\n\ntoolchain go1.999.0\n")
	t.Setenv("GOTOOLCHAIN", "auto")
	t.Setenv("GOFLAGS", "-buildvcs=true")
	file, _, err := Tree(t.Context(), dir, out, Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := inspected(t, file)
	if i.Go != runtime.Version() {
		t.Errorf("built with %s, want %s", i.Go, runtime.Version())
	}
	if i.Commit != "" {
		t.Errorf("commit %s is in the file", i.Commit)
	}
}

func TestLastLinesOfALongComplaintAreKept(t *testing.T) {
	var long []string
	for k := range 30 {
		long = append(long, fmt.Sprintf("line %d", k))
	}
	got := strings.Split(tail([]byte(strings.Join(long, "\n")+"\n")), "\n\t")
	want := append([]string{":", "(10 lines before)"}, long[10:]...)
	if !slices.Equal(got, want) {
		t.Errorf("tail is %q, want %q", got, want)
	}
	if got := tail([]byte(" \n")); got != "" {
		t.Errorf("tail of nothing is %q", got)
	}
}

func inspected(t testing.TB, file string) Info {
	t.Helper()
	i, err := Inspect(file)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestGivenUpBeforeItBeginsItLeavesNothing(t *testing.T) {
	dir := house(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Progress: func(line string) {
		if strings.HasPrefix(line, "building") {
			cancel()
		}
	}}
	_, _, err := Revision(ctx, dir, "HEAD", t.TempDir(), o)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want that it was cancelled", err)
	}
	nothingIsLeft(t, dir)
}
