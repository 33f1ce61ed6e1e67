package conf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"tracker/pkg/tui/look"
)

// SchemaName is what the schema of files of settings is called.
const SchemaName = "trackctl.map/1"

// TOML is the settings as a file of them, with comments. It reads back the same.
func (c *Config) TOML() []byte {
	var b bytes.Buffer
	b.WriteString("# Settings of the map of trackctl. What is left out is as it is here by default.\n")
	table := ""
	for _, s := range settings {
		if above := strings.Join(s.path[:len(s.path)-1], "."); above != table {
			table = above
			fmt.Fprintf(&b, "\n[%s]\n", table)
		} else if above == "" {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# %s\n%s = %s\n", s.help, s.path[len(s.path)-1], s.print(c))
	}
	b.WriteString("\n# Filters by name: @NAME stands for one, in the prompt and with --filter.\n")
	b.WriteString(head("filters", len(c.Filters)))
	for _, name := range sortedKeys(c.Filters) {
		fmt.Fprintln(&b, FilterLine(name, c.Filters[name]))
	}
	b.WriteString("\n# Keys by action, where they are not the usual ones. An action with [] has none.\n")
	b.WriteString(head("keys", len(c.Keys)))
	for _, name := range sortedKeys(c.Keys) {
		fmt.Fprintf(&b, "%s = %s\n", bare(name), tomlList(c.Keys[name]))
	}
	b.WriteString("\n# Themes by name: styles in words, such as \"bold bright-red on 235\" or \"#5fd7ff\".\n")
	b.WriteString(head("themes.NAME", len(c.Themes)))
	for _, name := range sortedKeys(c.Themes) {
		fmt.Fprintf(&b, "[themes.%s]\n", bare(name))
		for _, style := range sortedKeys(c.Themes[name]) {
			fmt.Fprintf(&b, "%s = %s\n", bare(style), tomlString(c.Themes[name][style]))
		}
	}
	return b.Bytes()
}

// head begins a table, as a comment if there is nothing in it. Themes have heads of
// their own.
func head(table string, entries int) string {
	switch {
	case entries == 0:
		return "# [" + table + "]\n"
	case strings.HasSuffix(table, "NAME"):
		return ""
	}
	return "[" + table + "]\n"
}

// TOML is all keys as the table of them in a file of settings, with what they do.
func (k *Keymap) TOML() []byte {
	var b bytes.Buffer
	b.WriteString("[keys]\n")
	for told := range k.told() {
		fmt.Fprintf(&b, "# %s\n", told[len(told)-1].Help)
		for _, a := range told {
			fmt.Fprintf(&b, "%s = %s\n", bare(a.Name), tomlList(k.keys[a.Name]))
		}
	}
	return b.Bytes()
}

// Schema is the JSON schema of a file of settings, for editors that know TOML.
func Schema(actions []Action) []byte {
	root := object(map[string]any{
		"filters": named(map[string]any{"type": "string"}, "Filters by name: @NAME stands for one."),
		"keys":    keysShape(actions),
		"themes":  named(themeShape(), "Themes by name."),
	})
	for _, s := range settings {
		in := root
		for _, table := range s.path[:len(s.path)-1] {
			in = inner(in, table)
		}
		shape := maps.Clone(s.shape)
		shape["description"] = s.help
		shape["default"] = s.value(Defaults())
		properties(in)[s.path[len(s.path)-1]] = shape
	}
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "urn:tracker:" + SchemaName
	root["title"] = SchemaName
	root["description"] = "Settings of the map of trackctl."
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		panic("conf: schema: " + err.Error()) // it is made of strings and numbers
	}
	return b.Bytes()
}

func object(properties map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func properties(shape map[string]any) map[string]any { return shape["properties"].(map[string]any) }

// inner is the shape of a table below another, which is made if it is not there yet.
func inner(shape map[string]any, table string) map[string]any {
	all := properties(shape)
	if all[table] == nil {
		all[table] = object(map[string]any{})
	}
	return all[table].(map[string]any)
}

// named is a table in which people choose the names.
func named(shape map[string]any, help string) map[string]any {
	return map[string]any{
		"type": "object", "description": help, "additionalProperties": shape,
		"propertyNames": map[string]any{"pattern": "^[A-Za-z0-9_-]{1,32}$"},
	}
}

func keysShape(actions []Action) map[string]any {
	all := map[string]any{}
	for told := range (&Keymap{actions: actions}).told() {
		for _, a := range told {
			key := map[string]any{"type": "string", "minLength": 1}
			all[a.Name] = map[string]any{
				"description": told[len(told)-1].Help, "default": a.Default,
				"anyOf": []any{key, map[string]any{"type": "array", "items": key}},
			}
		}
	}
	shape := object(all)
	shape["description"] = "Keys by action."
	return shape
}

func themeShape() map[string]any {
	all := map[string]any{"base": map[string]any{"description": "The theme that has what is not said here.", "enum": look.Names}}
	for _, name := range styleNames {
		all[name] = map[string]any{"type": "string", "minLength": 1}
	}
	return object(all)
}

// value is a setting as JSON has it. Strings, numbers, truths and lists of strings are
// written alike in TOML, as long as there is nothing in them that has to be escaped.
func (s *setting) value(c *Config) any { return json.RawMessage(s.print(c)) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// bare is a name as a key of TOML.
func bare(name string) string {
	if name != "" && strings.Trim(name, letters) == "" {
		return name
	}
	return tomlString(name)
}

// tomlString quotes a string so that neither TOML nor a terminal can take it for
// something else.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func tomlList(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = tomlString(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
