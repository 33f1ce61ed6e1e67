package web

import _ "embed"

// openAPIDocument is written by hand; TestDocumentAndHandlersAgree holds it against
// the routes and against real answers.
//
//go:embed openapi.json
var openAPIDocument []byte

func (w *Web) openAPI(rq *request) error {
	rq.http.SetContentType("application/json")
	rq.http.Response.SetBodyRaw(openAPIDocument)
	return nil
}
