package clients

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

type coderClient struct{ conn *websocket.Conn }

func dialCoder(url string) (Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, url, nil)
	if err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, Rejected(resp.StatusCode)
	}
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	return coderClient{conn}, nil
}

func (c coderClient) Send(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return c.conn.Write(ctx, websocket.MessageText, []byte(text))
}

func (c coderClient) Receive() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, b, err := c.conn.Read(ctx)
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return "", Closed{int(closed.Code), closed.Reason}
	case errors.Is(err, io.EOF):
		return "", Closed{1006, err.Error()}
	case err != nil:
		return "", err
	case kind != websocket.MessageText:
		return "", fmt.Errorf("a message of type %v", kind)
	}
	return string(b), nil
}

func (c coderClient) Close() error { return c.conn.Close(websocket.StatusNormalClosure, "bye") }

func (c coderClient) end() { c.conn.CloseNow() }
