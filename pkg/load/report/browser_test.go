package report

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browse opens a page in headless Chromium, if there is one, with a network that leads
// nowhere. It returns the document that came of it and every address that was asked
// for, by the browser's own log.
func browse(t *testing.T, page string) (document string, asked []string) {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium; apt-get install chromium brings one")
	}
	dir := t.TempDir()
	file, log := filepath.Join(dir, "page.html"), filepath.Join(dir, "net.json")
	if err := os.WriteFile(file, []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--log-net-log="+log, "--dump-dom", "file://"+file)
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("chromium does not run here: %v", err)
	}
	events, err := os.ReadFile(log)
	if err != nil {
		t.Skipf("chromium wrote no log: %v", err)
	}
	for _, m := range regexp.MustCompile(`"url":"([^"]*)"`).FindAllStringSubmatch(string(events), -1) {
		if strings.HasPrefix(m[1], "http") || strings.HasPrefix(m[1], "ws") {
			asked = append(asked, m[1])
		}
	}
	return string(out), asked
}

// The control page shows that the log would tell, and that a script would run.
func TestAPageAsksForNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser")
	}
	document, asked := browse(t, `<img src="http://fetched.invalid/x.png" onerror="document.title='ran'"><title>was</title>`)
	if !strings.Contains(strings.Join(asked, " "), "http://fetched.invalid/x.png") || !strings.Contains(document, "<title>ran</title>") {
		t.Skipf("this browser does not tell what it asks for: %v", asked)
	}
	var results, gated strings.Builder
	if err := HTML(&results, []*File{fileOf(t, missing(t)), fileOf(t, hostile(t))}, Context{}); err != nil {
		t.Fatal(err)
	}
	bad := hostileGate(t)
	bad.Metrics[5].Confirm.High = nil // JSON cannot say how far
	if err := gateHTML(&gated, bad, Context{}); err != nil {
		t.Fatal(err)
	}
	for _, page := range []struct {
		text     string
		drawings int
	}{{results.String(), 14}, {gated.String(), 2}} {
		document, asked := browse(t, page.text)
		for _, url := range asked {
			if !strings.Contains(url, "google") { // the browser's own affairs
				t.Errorf("the page asked for %s", url)
			}
		}
		if strings.Contains(document, "<title>ran</title>") || strings.Count(document, "<svg ") < page.drawings {
			t.Errorf("%d drawings came of it", strings.Count(document, "<svg "))
		}
	}
}
