package client

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUser ends Run: the session belongs to another user than the positions.
	ErrUser = errors.New("client: the session belongs to another user")
	// ErrProtocol ends Run: the server does not speak fanfare.v1.
	ErrProtocol = errors.New("client: the server does not speak fanfare.v1")
	// ErrPending is reported when a server is disconnected because handlers are slower,
	// see Config.MaxPending.
	ErrPending = errors.New("client: too many messages wait for their handlers; disconnected until they have caught up")
)

// CloseError is the end of a connection. Code is 1006 if there was no close frame: Err then
// says more.
type CloseError struct {
	Code   int
	Reason string
	Err    error
}

func (e *CloseError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("client: connection lost: %v", e.Err)
	}
	return fmt.Sprintf("client: closed with %d %q", e.Code, e.Reason)
}

// Unwrap returns Err.
func (e *CloseError) Unwrap() error { return e.Err }

// HandshakeError is a handshake that failed. Status is 0 if there was no answer: Err then
// says more.
type HandshakeError struct {
	Status     int
	Text       string
	RetryAfter time.Duration
	Err        error
}

func (e *HandshakeError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("client: handshake failed: %v", e.Err)
	}
	return fmt.Sprintf("client: handshake rejected with %d: %s", e.Status, e.Text)
}

// Unwrap returns Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// RejectedError is an error object of fanfare.v1. Topic is set if a subscription was
// rejected.
type RejectedError struct{ Code, Text, Topic string }

func (e *RejectedError) Error() string {
	if e.Topic != "" {
		return fmt.Sprintf("client: subscription to %q rejected: %s: %s", e.Topic, e.Code, e.Text)
	}
	return fmt.Sprintf("client: rejected: %s: %s", e.Code, e.Text)
}

// HandlerError is an error that a handler returned. A stored message is handled again.
type HandlerError struct {
	Message *Message
	Err     error
}

func (e *HandlerError) Error() string {
	return fmt.Sprintf("client: handler failed for %s: %v", e.Message.where(), e.Err)
}

// Unwrap returns Err.
func (e *HandlerError) Unwrap() error { return e.Err }

// StoreError is an error of the PositionStore, which is tried again.
type StoreError struct {
	Key string
	Err error
}

func (e *StoreError) Error() string { return fmt.Sprintf("client: position %s: %v", e.Key, e.Err) }

// Unwrap returns Err.
func (e *StoreError) Unwrap() error { return e.Err }

// TokenError is an error of Config.Token, which is tried again.
type TokenError struct{ Err error }

func (e *TokenError) Error() string { return fmt.Sprintf("client: no token: %v", e.Err) }

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

// GapError reports that messages of a topic, or of the inbox, are not available any more.
type GapError struct{ Topic string }

func (e *GapError) Error() string {
	if e.Topic == "" {
		return "client: messages of the inbox are not available any more"
	}
	return fmt.Sprintf("client: messages of %q are not available any more", e.Topic)
}
