// Package page is for the small screens around the map: tty.Pages that show one thing.
package page
