//go:build !race

package rule

const (
	slower = 1
	enough = true
)
