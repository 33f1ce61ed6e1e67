package tui

var hostileModes map[string]func(Options) error
