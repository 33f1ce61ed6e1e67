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
	r := startServer(t, nil)
	script := strings.ReplaceAll(block(t, page, "sh"), "127.0.0.1:4810", r.tcp)
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

// TestExampleOfTheRPCPageRuns holds the programs of docs/rpc.md against their files, and
// runs the one in Go as the page says. The other one is run by the tests of its client.
func TestExampleOfTheRPCPageRuns(t *testing.T) {
	page, err := os.ReadFile("../../docs/rpc.md")
	if err != nil {
		t.Fatal(err)
	}
	for language, file := range map[string]string{"go": "../../examples/hello/main.go", "ts": "../../clients/ts/examples/worked.ts"} {
		if want, err := os.ReadFile(file); err != nil || string(want) != block(t, page, language) {
			t.Errorf("the %s block of docs/rpc.md is not %s: %v", language, file, err)
		}
	}
	r := startServer(t, nil)
	cmd := exec.Command("go", "run", "../../examples/hello", r.tcp, r.dir+"/admin.token")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	named := regexp.MustCompile(`hello-[0-9.]+`)
	got, want := named.ReplaceAllString(string(out), "NAME"), named.ReplaceAllString(block(t, page, "text"), "NAME")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// block is the first block of a page in that language.
func block(t *testing.T, page []byte, language string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(page)
	if found == nil {
		t.Fatalf("the page has no %s block", language)
	}
	return string(found[1])
}
