package clitest

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// daemon is trackerd, built once for all scripts of a test binary.
var daemon struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Main runs the tests with commands that scripts can exec, by name.
//
// Scripts wait for other processes most of the time, so more of them run at once than
// there are processors.
func Main(m *testing.M, commands map[string]func() int) {
	_ = flag.Set("test.parallel", "8") // what the command line says is parsed later and wins
	funcs := map[string]func(){}
	for name, run := range commands {
		funcs[name] = func() { os.Exit(run()) }
	}
	testscript.Main(cleaning{m}, funcs)
}

// cleaning removes what the tests built.
type cleaning struct{ m *testing.M }

func (c cleaning) Run() int {
	defer func() {
		if daemon.dir != "" {
			_ = os.RemoveAll(daemon.dir)
		}
	}()
	return c.m.Run()
}

func trackerd() (string, error) {
	daemon.once.Do(func() {
		if daemon.dir, daemon.err = os.MkdirTemp("", "trackerd-"); daemon.err != nil {
			return
		}
		daemon.path = filepath.Join(daemon.dir, "trackerd")
		build := exec.Command("go", "build", "-o", daemon.path, "tracker/cmd/trackerd")
		if out, err := build.CombinedOutput(); err != nil {
			daemon.err = fmt.Errorf("build trackerd: %w\n%s", err, out)
		}
	})
	return daemon.path, daemon.err
}

// patience bounds everything that scripts wait for.
const patience = 20 * time.Second

// Run runs the scripts of a directory, each with a home of its own. Beside the
// commands of testscript they have
//
//	server [FLAG...]              start trackerd on a free port; sets TRACK_SERVER,
//	                              TRACK_TOKEN_FILE, UDP and DATA, and TRACKERD to
//	                              the program
//	stopserver                    stop it
//	until REGEXP PROGRAM ARG...   run a program until its standard output matches
//	member VAR FILE KEY...        set VAR to a member of a JSON file
//	code N PROGRAM ARG...         run a program that has to exit with N
func Run(t *testing.T, dir string) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       false,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"} {
				env.Setenv(name, filepath.Join(env.WorkDir, ".home", strings.ToLower(name)))
			}
			env.Setenv("TERM", "dumb")
			env.Setenv("TRACKER_DATA", Recordings())
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if name, ok := strings.CutPrefix(cond, "recording:"); ok {
				_, err := os.Stat(filepath.Join(Recordings(), name))
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":     startServer,
			"stopserver": stopServer,
			"until":      until,
			"member":     member,
			"code":       code,
		},
	})
}

// Recordings is where the recorded traces lie beside a work tree.
func Recordings() string {
	if dir := os.Getenv("TRACKER_DATA"); dir != "" {
		return dir
	}
	dir, _ := filepath.Abs(filepath.Join("..", "..", "..", "shared", "data"))
	return dir
}

// Daemon is a trackerd in a process of its own.
type Daemon struct {
	TCP, UDP string
	Data     string // its directory, with admin.token
	cmd      *exec.Cmd
}

// Start starts trackerd on free loopback ports and waits until it is ready.
func Start(data string, args ...string) (*Daemon, error) {
	path, err := trackerd()
	if err != nil {
		return nil, err
	}
	d := &Daemon{Data: data}
	d.cmd = exec.Command(path, append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"}, args...)...)
	if testing.Verbose() {
		d.cmd.Stderr = os.Stderr
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "ready tcp=%s udp=%s", &d.TCP, &d.UDP)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("no ready line but %q: %w", line, err), d.Stop())
	}
	return d, nil
}

// Stop asks the server to end and waits for it.
func (d *Daemon) Stop() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }() // ends with the process
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		_ = d.cmd.Process.Kill()
		<-done
		return errors.New("trackerd had to be killed")
	}
}

// running is the server of each script, so that stopserver finds it.
var running sync.Map // *testscript.TestScript -> *Daemon

func startServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("server: cannot be negated; use code")
	}
	d, err := Start(ts.MkAbs("data"), args...)
	ts.Check(err)
	running.Store(ts, d)
	ts.Defer(func() { end(ts) })
	ts.Setenv("TRACK_SERVER", d.TCP)
	ts.Setenv("UDP", d.UDP)
	ts.Setenv("TRACK_TOKEN_FILE", filepath.Join(d.Data, "admin.token"))
	ts.Setenv("DATA", d.Data)
	ts.Setenv("TRACKERD", daemon.path)
}

func stopServer(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("stopserver: cannot be negated")
	}
	end(ts)
}

func end(ts *testscript.TestScript) {
	got, ok := running.LoadAndDelete(ts)
	if !ok {
		return
	}
	d, _ := got.(*Daemon)
	if err := d.Stop(); err != nil {
		ts.Logf("trackerd: %v", err)
	}
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP PROGRAM ARG...")
	}
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	deadline := time.Now().Add(patience)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if out := ts.ReadFile("stdout"); err == nil && re.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("until %s: never matched; at last %v:\n%s%s", args[0], err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// member finds its way down a JSON document; a number as key counts the entries of a
// list.
func member(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: member VAR FILE KEY...")
	}
	var at any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &at))
	for _, key := range args[2:] {
		switch v := at.(type) {
		case map[string]any:
			at = v[key]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i < 0 || i >= len(v) {
				ts.Fatalf("no entry %s in a list of %d", key, len(v))
			}
			at = v[i]
		default:
			at = nil
		}
	}
	if at == nil {
		ts.Fatalf("%s has no %s", args[1], strings.Join(args[2:], "."))
	}
	ts.Setenv(args[0], fmt.Sprint(at))
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG...")
	}
	if args[1] == "trackerd" {
		path, err := trackerd()
		ts.Check(err)
		args[1] = path
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("%s exited with %d, want %s\n%s%s", strings.Join(args[1:], " "), got, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}
