package main

import (
	"io"
	"testing"

	"tracker/cmd/internal/clitest"
)

func TestMain(m *testing.M) {
	clitest.Main(m, map[string]func() int{"trackbench": run})
}

func TestScripts(t *testing.T) { clitest.Run(t, "testdata/script") }

func TestDocsSayWhatTheCommandsSay(t *testing.T) {
	clitest.CheckDoc(t, "../../docs/cli.md", (&bench{out: io.Discard, err: io.Discard}).command())
}
