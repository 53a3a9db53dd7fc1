package client

import (
	"context"
	"net/http"
)

// A server may send a resume ticket, with which the next handshake needs no token: neither
// this program's backend nor the server's is asked when all clients of a node that has ended
// come back at once. A client presents it until the server rejects it.

// header returns the header of the next handshake, with a ticket or a token.
func (c *Client) header(ctx context.Context) (http.Header, error) {
	header := c.cfg.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	c.mu.Lock()
	ticket := c.ticket
	c.mu.Unlock()
	switch {
	case ticket != "":
		header.Set("Authorization", "Ticket "+ticket)
	case c.cfg.Token != nil:
		token, err := c.cfg.Token(ctx)
		if err != nil {
			return nil, &TokenError{err}
		}
		header.Set("Authorization", "Bearer "+token)
	}
	return header, nil
}

// keepTicket keeps the ticket of hello and refresh for the next handshake.
func (c *Client) keepTicket(o *object) {
	if o.Ticket == "" {
		return
	}
	c.mu.Lock()
	c.ticket = o.Ticket
	c.mu.Unlock()
}

// dropTicket forgets the ticket, and reports whether there was one.
func (c *Client) dropTicket() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	had := c.ticket != ""
	c.ticket = ""
	return had
}

// outlives reports whether a ticket is worth presenting after a session that was closed with
// code: the server leaves, or has trouble, and has nothing against the identity.
func outlives(code int) bool {
	switch code {
	case 1001, 1006, 1011, 1012, 1013:
		return true
	}
	return false
}

// judgesTicket reports whether a handshake with a ticket may have been rejected because of it,
// so that one with a token is worth a try.
func judgesTicket(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
}
