//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/tui"
)

// onMapOf is the palette of a map that is connected to a server.
func onMapOf(t *testing.T, server, token string) *tui.CLI {
	t.Helper()
	a := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, server: server, token: token}
	conn, err := a.connect()
	if err != nil {
		t.Fatal(err)
	}
	conn.Close() // the palette has connections of its own
	return a.mapCLI(func() *app { return a })
}

func runOnMap(ctx context.Context, cli *tui.CLI, line string) (string, error) {
	var out bytes.Buffer
	err := cli.Run(ctx, strings.Fields(line), &out)
	return out.String(), err
}

func verbAt(cli *tui.CLI, path string) *tui.Verb {
	var found *tui.Verb
	all := cli.Verbs
	for _, name := range strings.Fields(path) {
		i := slices.IndexFunc(all, func(v tui.Verb) bool { return v.Name == name })
		if i < 0 {
			return nil
		}
		found, all = &all[i], all[i].Verbs
	}
	return found
}

func TestThePaletteHasTheCommandsOfTheShell(t *testing.T) {
	cli := onMapOf(t, "127.0.0.1:1", "")
	for path, not := range map[string]bool{
		"device list": false, "device show": false, "device revoke": false, "near": false, "history": false, "status": false,
		"maps join": false, "token list": false, "token revoke": false, "context list": false, "watch": false, "version": false, "help": false,
		"map": true, "device enroll": true, "device rotate": true, "token create": true, "context add": true,
		"beacon": true, "replay": true, "simulate": true, "doctor": true,
	} {
		if v := verbAt(cli, path); v == nil || (v.Not != "") != not || v.Help == "" {
			t.Errorf("%s: %+v", path, v)
		}
	}
	if v := verbAt(cli, "completion"); v != nil {
		t.Errorf("%+v", v)
	}
	list := verbAt(cli, "device list")
	flag := slices.IndexFunc(list.Flags, func(f tui.Flag) bool { return f.Name == "filter" })
	if flag < 0 || list.Flags[flag].Value != "filter" || list.Public {
		t.Errorf("%+v", list)
	}
	if show := verbAt(cli, "device show"); show.Args != "DEVICE" {
		t.Errorf("%+v", show)
	}
	for _, v := range cli.Verbs {
		if slices.ContainsFunc(v.Flags, func(f tui.Flag) bool { return f.Name == "server" || f.Name == "token" }) {
			t.Errorf("%s takes another server or token", v.Name)
		}
	}
	for line, want := range map[string]string{
		"version": "trackctl ", "help device list": "--match text", "help map": "Shows the devices on a map", "help filter": "regular expression", "exit-codes": "130",
	} {
		if got, err := runOnMap(t.Context(), cli, line); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v\n%s", line, err, got)
		}
	}
	if got, _ := runOnMap(t.Context(), cli, "help device list"); strings.Contains(got, "--server") {
		t.Errorf("the help tells of flags that are not for the map:\n%s", got)
	}
}

func TestWhatIsNotForTheMapSaysSo(t *testing.T) {
	cli := onMapOf(t, "127.0.0.1:1", "")
	for line, want := range map[string]string{
		"map":                         "this is the map",
		"map --once":                  "this is the map",
		"--insecure map":              "this is the map",
		"device enroll van-9 --json":  "it shows a key",
		"device rotate van-9":         "it shows a key",
		"token create x --role admin": "it shows a token",
		"context add x":               "it takes a token",
		"doctor tty":                  "it asks the terminal",
		"watch":                       "watch goes on for ever\ntrackctl: hint: add --for or --count",
		"watch --for 0s --count 0":    "watch goes on for ever",
		"status --watch":              "status --watch goes on for ever\ntrackctl: hint: add --for, such as",
		"status --server 127.0.0.1:9": "--server: on the map the map's own server is asked",
		"status --token x":            "--token: on the map",
		"maps join harbour --from x":  "--from reads a file",
		"device list --nothing":       "unknown flag: --nothing",
		"device show":                 "trackctl device show wants DEVICE",
		"device shwo":                 "did you mean trackctl device show?",
		"status":                      "cannot reach 127.0.0.1:1",
		"near 91,0":                   "trackctl: ",
	} {
		got, err := runOnMap(t.Context(), cli, line)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "trackctl: ") || got != "" {
			t.Errorf("%s: %v, and it said %q, want %q", line, err, got, want)
		}
	}
}

func TestThePaletteKeepsTheServerOfTheMap(t *testing.T) {
	d, conn := startDaemon(t)
	token, err := os.ReadFile(filepath.Join(d.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	cli := onMapOf(t, d.TCP, strings.TrimSpace(string(token)))
	t.Setenv("TRACK_SERVER", "127.0.0.1:1")
	t.Setenv("TRACK_TOKEN", "another")
	if _, err := conn.Enroll(t.Context(), client.NewDevice{Name: "van-1"}); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"device list":              "van-1",
		"token list":               "admin",
		"near -33.8,151.2":         "nobody is within",
		"status --over 0":          d.TCP,
		"maps create harbour":      "map harbour",
		"status --watch --for 1ms": "",
	} {
		if got, err := runOnMap(t.Context(), cli, line); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v\n%s", line, err, got)
		}
	}
	if _, err := runOnMap(t.Context(), cli, "device revoke van-1"); err == nil || !strings.Contains(err.Error(), "hint: add --yes") {
		t.Errorf("revoke without --yes: %v", err)
	}
	if dev, err := conn.Device(t.Context(), "van-1"); err != nil || dev.State != "active" {
		t.Errorf("%+v, %v", dev, err)
	}
	if got, err := runOnMap(t.Context(), cli, "device revoke van-1 --yes"); err != nil || !strings.Contains(got, "is revoked") {
		t.Errorf("revoke with --yes: %v\n%s", err, got)
	}
}

func TestACommandOfThePaletteLeavesNothingBehind(t *testing.T) {
	d, conn := startDaemon(t)
	token, err := os.ReadFile(filepath.Join(d.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Enroll(t.Context(), client.NewDevice{Name: "van-1"}); err != nil {
		t.Fatal(err)
	}
	cli := onMapOf(t, d.TCP, strings.TrimSpace(string(token)))
	conn.CloseIdle()
	before := runtime.NumGoroutine()
	for range 5 {
		if _, err := runOnMap(t.Context(), cli, "status --over 0"); err != nil {
			t.Error(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := runOnMap(ctx, cli, "watch --for 1h")
		ended <- err
	}()
	stop()
	select {
	case <-ended:
	case <-time.After(terminalPatience):
		t.Fatal("a command that was stopped goes on")
	}
	for deadline := time.Now().Add(terminalPatience); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestMapRunsCommandsOnItsScreen(t *testing.T) {
	t.Parallel()
	d, conn := startDaemon(t)
	for _, name := range []string{"van-1", "bus-1"} {
		if _, err := conn.Enroll(t.Context(), client.NewDevice{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	tm := open(t, d, 120, 40, "map")
	tm.sees("LIVE")
	tm.press(":devi\tli")
	tm.sees("List the devices and when each was last heard of")
	tm.press("\t--match van\r")
	tm.sees("device list --match van")
	tm.sees("van-1  active  never")
	if text := tm.text(); strings.Contains(text, "bus-1") {
		t.Errorf("bus-1 is no van:\n%s", text)
	}
	tm.press(":map\r")
	tm.sees("map: this is the map; a shell opens another")
	tm.press("\x1b")
	tm.loses("this is the map")
	tm.press("q") // the sheet
	tm.loses("van-1  active")
	tm.press(":device revoke bus-1\r")
	tm.sees("hint: add --yes")
	tm.press("\x1b")
	tm.loses("hint: add")
	tm.press("q")
	if code, left := tm.ends(); code != exitDone || strings.Contains(left, "van-1") {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}

func TestMapIsFilteredByNames(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	file := filepath.Join(t.TempDir(), "map.toml")
	if err := os.WriteFile(file, []byte("[filters]\nfast = \"speed>50\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tm := open(t, d, 80, 24, "map", "--config", file, "--filter", "@fast van")
	tm.sees("LIVE")
	tm.press("/")
	tm.sees("/@fast van")
	tm.press("\x1b")
	tm.loses("/@fast")
	tm.press("q")
	if code, left := tm.ends(); code != exitDone {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
	tm = open(t, d, 80, 24, "map", "--config", file, "--filter", "van @fats")
	if code, left := tm.ends(); code != exitUsage || !strings.Contains(left, "no filter is named @fats; did you mean @fast?") {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}
