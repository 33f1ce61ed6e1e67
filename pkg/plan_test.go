// Package pkg holds only this test: the floor plan of the house, executed.
package pkg

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// rooms says, for each room, which rooms it may look into. A room that is not
// listed may not exist; a room below may never look up, and nobody looks across
// the river.
//
//	roof        server
//	doors       ingest   gateway   web
//	engine      engine
//	state       live     hub     store
//	rules       seal     rpc     wire
//	words       track   filter
//	ground      geo     sock     fault
//	------------ the wire ------------
//	far bank    client ► rpc wire seal track geo     tui ► client filter geo track
//	            load ► client rpc wire geo track
var rooms = map[string]string{
	"geo":   "",
	"sock":  "fault",
	"fault": "",
	"track": "geo",

	"filter": "track geo",

	"rpc":        "sock fault",
	"rpc/rpcgen": "",
	"seal":       "track geo",
	"wire":       "track geo",
	"wire/trk":   "rpc",

	"live":            "track geo",
	"hub":             "track geo fault",
	"store":           "track geo",
	"store/sqlite":    "store track geo",
	"store/storetest": "store track geo",

	"engine": "live hub store seal wire track geo",

	"gateway": "engine live hub store seal rpc wire track geo fault",
	"ingest":  "engine live hub store seal wire track geo",
	"web":     "engine live hub store seal wire track geo sock fault",

	"server": "ingest gateway web engine store/sqlite store live hub seal rpc wire track geo",

	"client": "rpc wire seal track geo",
	"tui":    "client filter track geo",
	"load":   "client rpc wire track geo",

	"load/peers": "load/rpcload load/stat client rpc wire track",

	// The rooms of the map, from the ground up.
	"tui/canvas":  "",
	"tui/world":   "geo",
	"tui/qr":      "",
	"tui/words":   "geo tui/world",
	"tui/look":    "filter tui/canvas",
	"tui/overlay": "geo tui/world",
	"tui/fleet":   "client filter track geo tui/canvas tui/world",
	"tui/chart":   "filter track geo tui/canvas tui/world tui/words tui/look tui/fleet tui/overlay",
	"tui/past":    "client track geo tui/fleet",
	"tui/snap":    "client track geo tui/canvas tui/look tui/fleet",
	"tui/conf":    "filter tui/canvas tui/look",
	"tui/tty":     "tui/canvas tui/look",
	"tui/tell":    "client filter track geo tui/canvas tui/world tui/words tui/fleet",
	"tui/page":    "client track tui/canvas tui/look tui/world tui/words tui/chart tui/fleet tui/tty tui/qr",
	"tui/tuitest": "client track geo tui/canvas tui/world",
}

// doors says which room may import a third-party module. Test files may use more;
// see testDoors.
var doors = map[string]string{
	"github.com/google/flatbuffers":           "wire/trk rpc/rpcgen",
	"golang.org/x/crypto":                     "seal",
	"golang.org/x/sys":                        "ingest store/sqlite",
	"golang.org/x/net":                        "client",
	"golang.org/x/sync":                       "server ingest gateway web engine client load",
	"modernc.org/sqlite":                      "store/sqlite",
	"github.com/valyala/fasthttp":             "web",
	"github.com/gobwas/ws":                    "web client",
	"github.com/VictoriaMetrics/metrics":      "web",
	"github.com/HdrHistogram/hdrhistogram-go": "load",
	"google.golang.org/grpc":                  "load/peers", // what ours is measured beside
	"github.com/skip2/go-qrcode":              "tui/qr",
	"charm.land/bubbletea/v2":                 "tui/tty",
	"github.com/charmbracelet/x/ansi":         "tui/canvas tui/tuitest",
	"github.com/charmbracelet/x/term":         "tui/tty tui/tuitest",
	"github.com/charmbracelet/x/vt":           "tui/tuitest", // a terminal for tests
	"github.com/creack/pty":                   "tui/tuitest",
	"github.com/charmbracelet/colorprofile":   "tui/tty",
	"github.com/pelletier/go-toml/v2":         "tui/conf",
	"github.com/spf13/cobra":                  "cmd",
	"github.com/spf13/pflag":                  "cmd",
	"golang.org/x/term":                       "cmd",
	"github.com/rogpeppe/go-internal":         "cmd/internal/clitest", // what tests of commands share
}

// testDoors are modules for tests only.
var testDoors = []string{
	"github.com/makiuchi-d/gozxing",
	"github.com/creack/pty",
	"github.com/charmbracelet/x/vt",
	"github.com/rogpeppe/go-internal",
}

func TestFloorPlan(t *testing.T) {
	seen := map[string]bool{}
	walk(t, ".", func(file, room string, imports []string) {
		home, allowed, listed := homeOf(room)
		seen[home] = true
		if !listed {
			t.Errorf("%s: room %q is not on the floor plan", file, room)
			return
		}
		for _, imp := range imports {
			if to, ours := strings.CutPrefix(imp, "tracker/pkg/"); ours {
				if there, _, _ := homeOf(to); there != home && !mayEnter(room, allowed, to, strings.HasSuffix(file, "_test.go")) {
					t.Errorf("%s: room %q may not look into %q", file, room, to)
				}
				continue
			}
			checkDoor(t, file, room, imp)
		}
	})
	for room := range rooms {
		if !seen[room] {
			t.Errorf("room %q is on the floor plan but not in the house", room)
		}
	}
}

// homeOf finds the room that a directory belongs to: itself, or the nearest one
// above it, whose permissions its inner rooms share.
func homeOf(room string) (home, allowed string, listed bool) {
	for {
		if allowed, listed = rooms[room]; listed {
			return room, allowed, true
		}
		if room = path.Dir(room); room == "." {
			return "", "", false
		}
	}
}

// mayEnter lets tests of the far bank start a real server to talk to, and tests of
// doors a real store: a test is a visitor, not a wall.
func mayEnter(room, allowed, to string, test bool) bool {
	for _, a := range strings.Fields(allowed) {
		if a == to || strings.HasPrefix(to, a+"/") && a != "store" {
			return true
		}
	}
	return to == room || strings.HasPrefix(to, room+"/") || strings.HasPrefix(room, to+"/") || test
}

func TestCommandsUseTheirOwnBank(t *testing.T) {
	banks := map[string]string{
		"trackerd":   "server fault",
		"trackctl":   "client filter tui load track geo seal wire",
		"trackbench": "client load track geo seal wire",
	}
	walk(t, "../cmd", func(file, room string, imports []string) {
		name := strings.Split(room, "/")[0]
		for _, imp := range imports {
			if to, ours := strings.CutPrefix(imp, "tracker/pkg/"); ours {
				if !mayEnter("cmd", banks[name], to, strings.HasSuffix(file, "_test.go")) {
					t.Errorf("%s: command %q may not look into %q", file, name, to)
				}
				continue
			}
			checkDoor(t, file, "cmd/"+room, imp)
		}
	})
}

func checkDoor(t *testing.T, file, room, imp string) {
	t.Helper()
	if !strings.Contains(strings.Split(imp, "/")[0], ".") || strings.HasPrefix(imp, "tracker/") {
		return // standard library, or our commands
	}
	for module, owners := range doors {
		if imp != module && !strings.HasPrefix(imp, module+"/") {
			continue
		}
		for _, o := range strings.Fields(owners) {
			if room == o || strings.HasPrefix(room, o+"/") {
				return
			}
		}
		if !strings.HasSuffix(file, "_test.go") {
			t.Errorf("%s: %s comes in through room %s, not %s", file, module, owners, room)
		}
		return
	}
	for _, module := range testDoors {
		if strings.HasPrefix(imp, module) && strings.HasSuffix(file, "_test.go") {
			return
		}
	}
	t.Errorf("%s: module %s has no door", file, imp)
}

func walk(t *testing.T, root string, visit func(file, room string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.Contains(file, "testdata") {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		room := path.Dir(filepath.ToSlash(rel))
		if room == "." {
			return nil
		}
		ast, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range ast.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, imp)
		}
		visit(file, room, imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
