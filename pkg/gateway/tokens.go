package gateway

import (
	"math"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// tokens is who may ask.
type tokens struct{ *Gateway }

var _ trk.TokensServer = tokens{}

func (g tokens) List(_ *rpc.Request, _ trk.Empty, out []byte) ([]byte, error) {
	all := g.engine.Tokens()
	reply := trk.TokenListT{Tokens: make([]*trk.TokenT, len(all))}
	for i := range all {
		reply.Tokens[i] = tokenTable(&all[i])
	}
	return trk.AppendTokenList(out, &reply), nil
}

func (g tokens) Create(r *rpc.Request, in trk.NewToken, out []byte) ([]byte, error) {
	ttl, err := lifetime(in.TtlMs())
	if err != nil {
		return nil, err
	}
	t, secret, err := g.engine.CreateToken(r.Context(), string(in.Name()), engine.Role(in.Role()), ttl)
	if err != nil {
		return nil, err
	}
	g.log.Info("token created", "token", t.ID, "role", string(t.Role), "by", identityOf(r).Name, "conn", r.ConnID())
	return trk.AppendCreatedToken(out, &trk.CreatedTokenT{Token: tokenTable(&t), Secret: secret}), nil
}

// lifetime reads how long a token is good; 0 is until it is revoked.
func lifetime(ms float64) (time.Duration, error) {
	const most = float64(math.MaxInt64 / int64(time.Millisecond))
	if !(ms >= 0 && ms < most) || ms != math.Trunc(ms) {
		return 0, invalid("ttl_ms", "%v: want whole milliseconds", ms)
	}
	return time.Duration(ms) * time.Millisecond, nil
}

func (g tokens) Revoke(r *rpc.Request, in trk.TokenRef, out []byte) ([]byte, error) {
	id := string(in.Id())
	if err := g.engine.RevokeToken(r.Context(), id); err != nil {
		return nil, err
	}
	g.log.Info("token revoked", "token", id, "by", identityOf(r).Name, "conn", r.ConnID())
	return trk.AppendEmpty(out, &trk.EmptyT{}), nil
}

func tokenTable(t *engine.Token) *trk.TokenT {
	return &trk.TokenT{Id: t.ID, Name: t.Name, Role: string(t.Role), Created: millis(t.Created), Expires: millis(t.Expires)}
}
