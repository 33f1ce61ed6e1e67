package load

import (
	"net/url"
	"regexp"
	"strings"
)

// hidden stands where a secret was.
const hidden = "REDACTED"

// secretFlag knows options whose value is a secret by their name; those that only name
// a file that holds it are no secret.
var secretFlag = regexp.MustCompile(`^--?(?:[a-z0-9-]*-)?(?:token|password|secret|invite|enrol(?:ment)?)$`)

// secretQuery are members of a URL's query that are secrets.
var secretQuery = regexp.MustCompile(`(?i)^(?:access_?token|token|key|api_?key|password|secret|sig|signature)$`)

// RedactArgs leaves the secrets out of a command line.
func RedactArgs(args []string) []string {
	out := make([]string, len(args))
	secret := false
	for i, a := range args {
		name, value, given := strings.Cut(a, "=")
		switch {
		case secret:
			out[i], secret = hidden, false
		case secretFlag.MatchString(name) && given:
			out[i] = name + "=" + hidden
		case secretFlag.MatchString(a):
			out[i], secret = a, true
		case given && strings.HasPrefix(a, "-"):
			out[i] = name + "=" + RedactURL(value)
		default:
			out[i] = RedactURL(a)
		}
	}
	return out
}

// RedactURL leaves the user and the secrets of the query out of an address. What is no
// URL comes back as it is, but for what stands before an @.
func RedactURL(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	u, err := url.Parse(s)
	if err != nil {
		scheme, rest, _ := strings.Cut(s, "://")
		if i := strings.LastIndex(rest, "@"); i >= 0 {
			return scheme + "://" + hidden + rest[i:]
		}
		return s
	}
	if u.User != nil {
		u.User = url.User(hidden)
	}
	if q := u.Query(); len(q) > 0 {
		changed := false
		for name := range q {
			if secretQuery.MatchString(name) {
				q.Set(name, hidden)
				changed = true
			}
		}
		if changed {
			u.RawQuery = q.Encode()
		}
	}
	return u.String()
}

// Redact leaves secrets out of what a result tells of the command and the target.
func (r *Result) Redact() {
	r.Target.Addr, r.Target.UDP = RedactURL(r.Target.Addr), RedactURL(r.Target.UDP)
	for name, v := range r.Scenario.Args {
		if s, ok := v.(string); ok {
			if secretFlag.MatchString("--" + name) {
				s = hidden
			}
			r.Scenario.Args[name] = RedactURL(s)
		}
	}
}
