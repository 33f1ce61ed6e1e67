package web

import (
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"tracker/pkg/engine"
	"tracker/pkg/track"
)

// tokenJSON is the schema Token. Token, the secret, is only in the answer to its
// creation.
type tokenJSON struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	Created string `json:"created"`
	Expires string `json:"expires,omitempty"`
	Token   string `json:"token,omitempty"`
}

func asTokenJSON(t engine.Token) tokenJSON {
	return tokenJSON{ID: t.ID, Name: t.Name, Role: string(t.Role), Created: stamp(t.Created), Expires: stamp(t.Expires)}
}

func (w *Web) listTokens(rq *request) error {
	reply := struct {
		Tokens []tokenJSON `json:"tokens"`
	}{[]tokenJSON{}}
	for _, t := range w.engine.Tokens() {
		reply.Tokens = append(reply.Tokens, asTokenJSON(t))
	}
	return rq.replyJSON(fasthttp.StatusOK, reply)
}

func (w *Web) createToken(rq *request) error {
	var ask struct {
		Name string `json:"name"`
		Role string `json:"role"`
		TTL  string `json:"ttl"`
	}
	if err := rq.readJSON(&ask); err != nil {
		return err
	}
	var ttl time.Duration
	if ask.TTL != "" {
		var err error
		if ttl, err = time.ParseDuration(ask.TTL); err != nil || ttl <= 0 {
			return fmt.Errorf("ttl %q: want a duration such as 720h: %w", ask.TTL, track.ErrInvalid)
		}
	}
	t, secret, err := w.engine.CreateToken(rq.ctx, ask.Name, engine.Role(ask.Role), ttl)
	if err != nil {
		return err
	}
	w.log.Info("token created", "token", t.ID, "role", string(t.Role), "by", rq.who.Name, "request", rq.id)
	reply := asTokenJSON(t)
	reply.Token = secret
	return rq.replyJSON(fasthttp.StatusCreated, reply)
}

func (w *Web) revokeToken(rq *request) error {
	if err := w.engine.RevokeToken(rq.ctx, rq.variable); err != nil {
		return err
	}
	w.log.Info("token revoked", "token", rq.variable, "by", rq.who.Name, "request", rq.id)
	rq.http.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
