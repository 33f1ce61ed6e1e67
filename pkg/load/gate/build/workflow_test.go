package build

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// commands are those of each step of the workflow that has a name and commands.
func commands(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "ci", "github-gate.yml"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	name, block := "", ""
	for line := range strings.Lines(string(text)) {
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if block != "" && len(indent) > len(block) {
			all[name] += strings.TrimPrefix(line, block+"  ")
			continue
		}
		block = ""
		line = strings.TrimSpace(line)
		if what, ok := strings.CutPrefix(line, "- name: "); ok {
			name = what
		} else if what, ok := strings.CutPrefix(line, "run: "); ok && what == "|" {
			block = indent
		} else if ok {
			all[name] = what
		}
	}
	return all
}

func TestWorkflowFailsOnWhatIsWorseAndWarnsOfWhatIsNotDecided(t *testing.T) {
	steps := commands(t)
	for _, step := range []struct{ name, asks string }{
		{"Gate", "origin/main --budget 15m\n"},
		{"Measure the day", "HEAD --history bench-results/history.jsonl\n"},
		{"Self-test", "--selftest\n"},
	} {
		dir := house(t)
		asked := filepath.Join(t.TempDir(), "asked")
		put(t, dir, "scripts/gate", "#!/bin/sh\necho \"$*\" >"+asked+"\nexit $CODE\n")
		if err := os.Chmod(filepath.Join(dir, "scripts", "gate"), 0o755); err != nil {
			t.Fatal(err)
		}
		for code, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 0, 4: 4, 5: 5, 70: 70, 130: 130} {
			if code == 3 && step.name == "Self-test" {
				continue // it is never undecided
			}
			cmd := exec.Command("sh", "-e", "-c", steps[step.name])
			cmd.Dir, cmd.Env = dir, append(os.Environ(), fmt.Sprint("CODE=", code), "GITHUB_BASE_REF=main")
			out, err := cmd.CombinedOutput()
			got := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				got = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if warned := strings.HasPrefix(string(out), "::warning "); got != want || warned != (code == 3) {
				t.Errorf("%s: a gate that exits %d makes a step that exits %d, want %d, and says %q", step.name, code, got, want, out)
			}
		}
		if text, _ := os.ReadFile(asked); string(text) != step.asks {
			t.Errorf("%s asks for %q, want %q", step.name, text, step.asks)
		}
	}
}

func TestWorkflowShowsTheTrend(t *testing.T) {
	s := script(t)
	trend := commands(t)["Trend"]
	run(t, s.dir, "sh", "-e", "-c", trend) // of the first night, when there is none
	put(t, s.dir, "bench-results/history.jsonl", "{}\n")
	tools := t.TempDir()
	put(t, tools, "go", "#!/bin/sh\n[ \"$*\" = 'run ./cmd/trackbench trend bench-results/history.jsonl' ] && echo steady\n")
	if err := os.Chmod(filepath.Join(tools, "go"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools+string(os.PathListSeparator)+os.Getenv("PATH"))
	run(t, s.dir, "sh", "-e", "-c", trend)
	if text, _ := os.ReadFile(s.summary); string(text) != "```\nsteady\n```\n" {
		t.Errorf("the step's summary is %q", text)
	}
}
