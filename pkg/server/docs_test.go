package server

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestCommandsOfTheAPIPageRun runs the shell block of docs/api.md as it is printed,
// against a server of this test, and reads the answers.
func TestCommandsOfTheAPIPageRun(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skip: no curl here for the commands of docs/api.md")
	}
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatal("docs/api.md has no shell block")
	}
	r := startServer(t, nil)
	script := strings.ReplaceAll(string(block[1]), "127.0.0.1:4810", r.tcp)
	script = strings.ReplaceAll(script, "data/admin.token", r.dir+"/admin.token")
	cmd := exec.Command("sh", "-euc", strings.ReplaceAll(script, "curl -sS", "curl -sS --fail-with-body"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{`"lineage"`, `"enrolment":"https://`, `"name":"van-7"`, `"hits":[`, `"fixes":[`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %s in what the commands printed:\n%s", want, out)
		}
	}
}
