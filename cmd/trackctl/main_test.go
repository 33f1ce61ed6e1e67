package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"tracker/cmd/internal/clitest"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]func() int{"trackctl": run})
}

func TestScripts(t *testing.T) { clitest.Run(t, "testdata/script") }

func tree() *cobra.Command {
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard}
	return a.command()
}

func TestDocsSayWhatTheCommandsSay(t *testing.T) {
	clitest.CheckDoc(t, "../../docs/cli.md", tree())
}

func TestEveryCommandHasAnExampleAndTakesItsArguments(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.IsAdditionalHelpTopicCommand() || c.Name() == "help" || c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
			return
		}
		if !strings.HasPrefix(c.Example, "  trackctl") && !strings.HasPrefix(c.Example, `  echo`) {
			t.Errorf("%s: the example is %q", c.CommandPath(), c.Example)
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.Args == nil {
			t.Errorf("%s: short %q, args checked: %v", c.CommandPath(), c.Short, c.Args != nil)
		}
	}
	walk(tree())
}
