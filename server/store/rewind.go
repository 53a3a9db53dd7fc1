package store

import "context"

// Rewinder is a Store that finds the last messages of a box without reading all of them.
type Rewinder interface {
	// Rewind returns an offset after which Read finds the last n messages of a box, or all
	// if there are fewer. What is stored after the call has begun may count.
	Rewind(ctx context.Context, b Box, n int) (after uint64, err error)
}

// Rewind is Rewinder.Rewind for any store.
func Rewind(ctx context.Context, st Store, b Box, n int) (after uint64, err error) {
	if r, ok := st.(Rewinder); ok {
		return r.Rewind(ctx, b, n)
	}
	last, err := st.Last(ctx, b)
	if last == 0 || err != nil {
		return 0, err
	}
	page, err := st.Read(ctx, b, 0, 1)
	if err != nil || len(page.Messages) == 0 {
		return last, err // all were removed
	}
	offsets := make([]uint64, 0, 1+len(page.Messages)+len(page.Rest))
	offsets = append(offsets, page.Messages[0].Prev)
	for i := range page.Messages {
		offsets = append(offsets, page.Messages[i].Offset)
	}
	offsets = append(offsets, page.Rest...)
	return offsets[max(len(offsets)-1-n, 0)], nil
}
