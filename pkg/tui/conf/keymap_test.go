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
	want := "key \"q\" is bound to \"left\", \"quit\"\nno action is called \"jump\""
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
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
