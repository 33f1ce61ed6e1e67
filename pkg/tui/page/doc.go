// Package page is the small screens around the map: tty.Pages that show one thing, and
// what they show for those without a screen.
//
//	Enrol    the code of a device until its first fix has come, then where that was
//	Status   how a server is and was during the last minute
//
//	Watch of one device ──► fleet.Store ──► Enrol ──► canvas
//	Conn.Status, asked again and again ──► Board ──► Status ──► canvas
//	                                             └──► Sentence, Report
//
// Whatever feeds a page runs in a goroutine of its own; a page looks when it draws.
package page
