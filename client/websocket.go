package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// mostText bounds what is kept of the body of a rejection.
const mostText = 500

// dialWebSocket implements dialFunc.
func (c *Client) dialWebSocket(ctx context.Context, url string, header http.Header, heard func()) (conn, error) {
	opts := &websocket.DialOptions{
		HTTPClient: c.cfg.HTTPClient, HTTPHeader: header, Subprotocols: []string{protocol},
		OnPingReceived: func(context.Context, []byte) bool { heard(); return true },
	}
	if c.cfg.Compress {
		opts.CompressionMode = websocket.CompressionNoContextTakeover
	}
	ws, resp, err := websocket.Dial(ctx, url, opts)
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols:
		e := &HandshakeError{Status: resp.StatusCode, Err: err}
		if resp.Body != nil {
			b, _ := io.ReadAll(io.LimitReader(resp.Body, mostText))
			e.Text = strings.TrimSpace(string(b))
		}
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			e.RetryAfter = min(time.Duration(n), mostRetryAfter/time.Second) * time.Second
		}
		return nil, e
	case err != nil:
		return nil, &HandshakeError{Err: err}
	case ws.Subprotocol() != protocol:
		ws.CloseNow()
		return nil, fmt.Errorf("%w: it chose %q", ErrProtocol, ws.Subprotocol())
	}
	ws.SetReadLimit(c.cfg.ReadLimit)
	return websocketConn{ws}, nil
}

// websocketConn implements conn.
type websocketConn struct{ ws *websocket.Conn }

func (c websocketConn) Read(ctx context.Context) ([]byte, error) {
	_, b, err := c.ws.Read(ctx)
	if err == nil {
		return b, nil
	}
	var ce websocket.CloseError
	switch {
	case errors.As(err, &ce):
		return nil, &CloseError{Code: int(ce.Code), Reason: ce.Reason}
	case errors.Is(err, websocket.ErrMessageTooBig):
		return nil, &CloseError{Code: int(websocket.StatusMessageTooBig), Reason: "a message is longer than Config.ReadLimit", Err: err}
	}
	return nil, &CloseError{Code: 1006, Err: err}
}

func (c websocketConn) Write(ctx context.Context, b []byte) error {
	return c.ws.Write(ctx, websocket.MessageText, b)
}

func (c websocketConn) Ping(ctx context.Context) error { return c.ws.Ping(ctx) }
func (c websocketConn) Close()                         { c.ws.Close(websocket.StatusNormalClosure, "") }
func (c websocketConn) CloseNow()                      { c.ws.CloseNow() }
