package store_test

import (
	"context"
	"errors"
	"testing"

	"fanfare/server/store"
)

// plainStore is a Store that does not implement Rewinder.
type plainStore struct {
	store.Store
	page store.Page
	last uint64
	err  error // of Read
}

func (s plainStore) Last(context.Context, store.Box) (uint64, error) { return s.last, nil }
func (s plainStore) Read(context.Context, store.Box, uint64, int) (store.Page, error) {
	return s.page, s.err
}

func TestRewind(t *testing.T) {
	page := store.Page{Messages: []store.Message{{Offset: 4, Prev: 2}, {Offset: 5, Prev: 4}}, Rest: []uint64{7, 9}}
	failed := errors.New("failed")
	for _, tt := range []struct {
		st   plainStore
		n    int
		want uint64
	}{
		{plainStore{page: page, last: 9}, 1, 7},
		{plainStore{page: page, last: 9}, 2, 5},
		{plainStore{page: page, last: 9}, 3, 4},
		{plainStore{page: page, last: 9}, 4, 2},
		{plainStore{page: page, last: 9}, 9, 2},
		{plainStore{page: page, last: 9, err: failed}, 1, 0},
		{plainStore{last: 9}, 1, 9},
		{plainStore{}, 1, 0},
	} {
		got, err := store.Rewind(t.Context(), tt.st, store.Box{Topic: "t"}, tt.n)
		if err == nil && got != tt.want || !errors.Is(err, tt.st.err) {
			t.Errorf("%+v, %d: got %d, %v, want %d", tt.st, tt.n, got, err, tt.want)
		}
	}
}
