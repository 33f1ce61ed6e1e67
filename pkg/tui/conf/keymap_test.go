package conf

import (
	"reflect"
	"testing"
)

var some = []Action{
	{Name: "left", Default: []string{"h", "left"}},
	{Name: "down", Default: []string{"j", "down"}},
	{Name: "right", Help: "pan", Hint: "pan", Rank: 1, Default: []string{"l", "right"}},
	{Name: "in", Default: []string{"+", "="}},
	{Name: "out", Help: "zoom", Default: []string{"-"}},
	{Name: "quit", Help: "quit", Default: []string{"q", "ctrl+c"}},
}

func TestRowsAreWrittenFromTheKeys(t *testing.T) {
	k, err := NewKeymap(some)
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{
		{Label: "hjl ←↓→", Help: "pan", Hint: "pan", Rank: 1, Actions: []string{"left", "down", "right"}},
		{Label: "+/-", Help: "zoom", Actions: []string{"in", "out"}},
		{Label: "q", Help: "quit", Actions: []string{"quit"}},
	}
	if got := k.Rows(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if name, ok := k.Action("ctrl+c"); !ok || name != "quit" {
		t.Errorf("ctrl+c is %q", name)
	}
	if name, ok := k.Action("x"); ok {
		t.Errorf("x is %q", name)
	}
}

func TestSettingsTakeTheKeysOver(t *testing.T) {
	c := &Config{Keys: map[string][]string{"left": {"ctrl+a"}, "in": nil, "out": {"z"}}}
	k, err := c.Keymap(some)
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, r := range k.Rows() {
		labels = append(labels, r.Label)
	}
	if want := []string{"ctrl+a/j/l", "z", "q"}; !reflect.DeepEqual(labels, want) {
		t.Errorf("%q, want %q", labels, want)
	}
	if _, ok := k.Action("+"); ok || len(k.Keys("in")) != 0 {
		t.Error("an action without keys still has one")
	}
}

func TestEveryMistakeOfAKeymapIsSaid(t *testing.T) {
	c := &Config{Keys: map[string][]string{"left": {"q"}, "jump": {"x"}}}
	_, err := c.Keymap(some)
	want := "no action is called \"jump\"\nkey \"q\" is bound to \"quit\", \"left\"; \"quit\" has it unless it is given others"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNobodyIsCaught(t *testing.T) {
	if _, err := (&Config{Keys: map[string][]string{"quit": nil}}).Keymap(some); err == nil || err.Error() != `no key quits: bind "quit" to one` {
		t.Errorf("%v", err)
	}
	if _, err := NewKeymap(some[:5]); err != nil {
		t.Errorf("there is nothing to quit: %v", err)
	}
}

func TestKeysThatTerminalsSend(t *testing.T) {
	for _, key := range []string{"a", "A", "+", "ü", "?", "ctrl+c", "ctrl++", "alt+enter", "ctrl+alt+shift+left", "shift+tab", "space", "f12", "pgdown", "super+x", "ctrl+_"} {
		if msg := wrongKey(key); msg != "" {
			t.Errorf("%s%s", key, msg)
		}
	}
	for key, want := range map[string]string{
		"": " is none", "abcd": " is none", "tba": ` is none; did you mean "tab"?`, "ctrl+": ` has no key after "ctrl+"`, "\x1b": " is none", "ctrl+X": `: want "ctrl+x"`, "shift+x": `: want what it makes, such as "X"`,
		"ctrl+m": ` is "enter" to a terminal`, "ctrl+return": `: want "ctrl+enter"`, "alt+ctrl+x": ": modifiers come once and in the order ctrl+alt+shift+",
	} {
		if msg := wrongKey(key); msg != want {
			t.Errorf("%q%s, want %s", key, msg, want)
		}
	}
}

func TestMistakesNameThePlace(t *testing.T) {
	for want, m := range map[string]*Mistake{
		"map.toml:12:9: no": {File: "map.toml", Line: 12, Col: 9, Msg: "no"}, "map.toml: no": {File: "map.toml", Msg: "no"}, "no": {Msg: "no"},
	} {
		if m.Error() != want {
			t.Errorf("%q, want %q", m.Error(), want)
		}
	}
}
