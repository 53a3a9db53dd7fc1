package clients

import (
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

type gorillaClient struct{ conn *websocket.Conn }

func dialGorilla(url string) (Client, error) {
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	conn, resp, err := dialer.Dial(url, nil)
	if errors.Is(err, websocket.ErrBadHandshake) {
		resp.Body.Close()
		return nil, Rejected(resp.StatusCode)
	}
	if err != nil {
		return nil, err
	}
	return gorillaClient{conn}, nil
}

func (c gorillaClient) Send(text string) error {
	return c.conn.WriteMessage(websocket.TextMessage, []byte(text))
}

func (c gorillaClient) Receive() (string, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	kind, b, err := c.conn.ReadMessage()
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return "", Closed{closed.Code, closed.Text}
	case err != nil:
		return "", err
	case kind != websocket.TextMessage:
		return "", fmt.Errorf("a message of type %d", kind)
	}
	return string(b), nil
}

func (c gorillaClient) Close() error {
	frame := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye")
	if err := c.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(patience)); err != nil {
		return err
	}
	return awaitClose(c)
}

func (c gorillaClient) end() { c.conn.Close() }
