package main

import (
	"errors"
	"testing"
	"time"
)

// TestCloseWithin: a store that hangs does not keep the program from ending.
func TestCloseWithin(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	if err := closeWithin(time.Millisecond, func() { <-hang }); !errors.Is(err, errStoreHangs) {
		t.Errorf("a store that hangs: %v", err)
	}
	if err := closeWithin(time.Hour, func() {}); err != nil {
		t.Errorf("a store that closes: %v", err)
	}
}
