package tui

import (
	"context"

	"tracker/pkg/tui/fleet"
)

func measured(ctx context.Context, s *fleet.Store) error { return nil }
