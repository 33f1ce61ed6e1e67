package sqlite

import (
	"testing"

	"tracker/pkg/store"
	"tracker/pkg/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(dir string, o storetest.Options) (store.Store, error) {
		return Open(Config{Dir: dir, Now: o.Now, RetentionDays: o.RetentionDays})
	})
}
