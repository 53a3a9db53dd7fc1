package replay

import (
	"context"
	"net/netip"

	"fanfare/server/store"
)

// AckUser takes an acknowledgement that does not come through a session: the user has
// everything up to an offset of a box. It returns when the position is stored. addr is the
// client's address, the zero Addr if it is exempt from limits, and exempt says that the
// client cannot have chosen the topic.
//
// An offset beyond the last message acknowledges what is there.
func (v *Service) AckUser(ctx context.Context, user string, b store.Box, addr netip.Addr, exempt bool, at Position) error {
	db := v.cfg.Store
	if db.Epoch(b) == "" {
		return store.ErrUnavailable
	}
	switch ok, err := db.Continues(ctx, b, at.Epoch, at.Offset); {
	case err != nil:
		return err
	case !ok:
		return ErrEpoch
	}
	last, err := db.Last(ctx, b)
	if err != nil {
		return err
	}
	offset := min(at.Offset, last)
	if offset == 0 {
		return nil
	}
	acked, known, err := db.Acked(ctx, b, user)
	switch {
	case err != nil:
		return err
	case known && acked >= offset:
		return nil
	case !known && b.Topic != "" && !exempt && !v.quota.allow(user, b.Topic, addr, v.cfg.Now()):
		v.counters.unstored.Add(1)
		v.logUnstored(user, b.Topic, addr)
		return ErrPositions
	}
	return db.AckSync(ctx, b, user, offset)
}
