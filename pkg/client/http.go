package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// overHTTP asks with JSON over HTTP and watches over a WebSocket.
type overHTTP struct {
	cfg    Config
	line   *dialer
	client *http.Client
	life   context.Context
}

func newHTTP(life context.Context, cfg Config, d *dialer) *overHTTP {
	return &overHTTP{cfg: cfg, line: d, life: life, client: &http.Client{
		Transport: &http.Transport{
			DialContext:         d.plain,
			DialTLSContext:      d.secure,
			DisableCompression:  true,
			MaxIdleConnsPerHost: 4,
			IdleConnTimeout:     30 * time.Second,

			ExpectContinueTimeout: 2 * time.Second,
		},
		// A redirect would carry the token to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (c *overHTTP) closeIdle() { c.client.CloseIdleConnections() }

func (c *overHTTP) close() { c.client.CloseIdleConnections() }

// askFirst is the size of a body, in bytes, above which a client asks whether to send
// it.
const askFirst = 16 << 10

// maxReply bounds what one answer that is not a stream may weigh.
const maxReply = 64 << 20

// call asks one question: body and reply are JSON, either may be nil.
func (c *overHTTP) call(ctx context.Context, method, path string, query url.Values, body, reply any) error {
	ctx, end := c.line.within(ctx, c.life)
	defer end()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, query, body, "application/json")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return c.line.lineError(ctx, err)
	}
	if len(b) > maxReply {
		return fmt.Errorf("the answer of %s is larger than %d MiB", c.line.server, maxReply>>20)
	}
	if reply == nil {
		return nil
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("the answer of %s is not what was expected: %v (is it a tracker server?)", c.line.server, err)
	}
	return nil
}

// ask is call with a reply of its own.
func ask[T any](ctx context.Context, c *overHTTP, method, path string, query url.Values, body any) (T, error) {
	var reply T
	err := c.call(ctx, method, path, query, body, &reply)
	return reply, err
}

// send asks and returns an answer that is a success; the caller closes its body.
func (c *overHTTP) send(ctx context.Context, method, path string, query url.Values, body any, accept string) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(b)
	}
	u := c.line.scheme + "://" + c.line.server + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, r)
	if err != nil {
		return nil, err
	}
	c.setHeaders(req.Header)
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if req.ContentLength > askFirst {
		req.Header.Set("Expect", "100-continue") // a refusal then comes before all of it was sent
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, c.line.lineError(ctx, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, c.line.readError(resp.StatusCode, resp.Body)
}

func (c *overHTTP) setHeaders(h http.Header) {
	if c.cfg.Token != "" {
		h.Set("Authorization", "Bearer "+c.cfg.Token)
	}
	h.Set("User-Agent", c.cfg.UserAgent)
}

// problem is how every error looks on every wire of the API.
type problem struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
		Request string `json:"request"`
	} `json:"error"`
}

func (p *problem) asError(status int) *Error {
	return &Error{Status: status, Code: p.Error.Code, Message: p.Error.Message, Hint: p.Error.Hint, Request: p.Error.Request}
}

func (d *dialer) readError(status int, body io.Reader) error {
	var p problem
	b, _ := io.ReadAll(io.LimitReader(body, 64<<10))
	_ = json.Unmarshal(b, &p) // a proxy in between may answer in its own words
	e := p.asError(status)
	e.plainOnTLS = status == http.StatusBadRequest && bytes.HasPrefix(b, []byte("this port speaks TLS"))
	if e.plainOnTLS {
		e.Message, e.Hint = tlsOnly, d.tlsHint()
	}
	return e
}
