package conf_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"tracker/pkg/tui"
	"tracker/pkg/tui/conf"
	_ "tracker/pkg/tui/tuitest" // brings -update
)

const (
	schemaFile = "../../../docs/schema/trackctl.map-1.json"
	page       = "../../../docs/map-config.md"
)

// holds compares a file with what it should be, which -update writes.
func holds(t *testing.T, file, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Errorf("%s is not what the settings say; go test ./pkg/tui/conf -update rewrites it", file)
		return
	}
	if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestThePublishedSchemaIsThatOfTheSettings(t *testing.T) {
	got, err := os.ReadFile(schemaFile)
	if err != nil && flag.Lookup("update").Value.String() != "true" {
		t.Fatal(err)
	}
	holds(t, schemaFile, string(got), string(conf.Schema(tui.Actions())))
}

func TestThePageSaysWhatCanBeSet(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := conf.NewKeymap(tui.Actions())
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	want := between(t, got, "settings", string(conf.Defaults().TOML()))
	want = between(t, want, "keys", string(keys.TOML()))
	holds(t, page, got, want)
}

// between puts a file of TOML between the two marks of a name.
func between(t *testing.T, page, name, text string) string {
	t.Helper()
	head, rest, ok := strings.Cut(page, "<!-- "+name+" -->\n")
	_, tail, ok2 := strings.Cut(rest, "<!-- end of "+name+" -->\n")
	if !ok || !ok2 {
		t.Fatalf("the page has no marks for %s", name)
	}
	return head + "<!-- " + name + " -->\n```toml\n" + text + "```\n<!-- end of " + name + " -->\n" + tail
}

func TestExamplesOnThePageAreRead(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(b), "```toml\n")[1:]
	for _, block := range blocks {
		text, _, _ := strings.Cut(block, "```\n")
		if _, _, err := conf.Parse("map.toml", []byte(text), tui.Actions()); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	if len(blocks) < 4 {
		t.Errorf("%d examples", len(blocks))
	}
}
