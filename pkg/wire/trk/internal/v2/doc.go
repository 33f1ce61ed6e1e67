// Package v2 is the services after they have grown in every way that is allowed, for
// the tests that hold both versions against each other. tools/flatc/v2.mjs makes its
// schema from today's.
package v2
