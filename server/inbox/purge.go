package inbox

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"fanfare/server/inbox/internal/datadir"
	"fanfare/server/inbox/internal/subject"
	"fanfare/server/store"
)

// Purge deletes the messages of a box and returns how many there were. It works on
// a full disk, too.
func (s *Store) Purge(ctx context.Context, to store.Box) (uint64, error) {
	ctx, cancel, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer cancel()
	b := subject.Of(to)
	last, err := s.last(ctx, b)
	if err != nil {
		return 0, err
	}
	upTo := s.end(b) // of messages that have expired, which are no gap any more
	if last != nil {
		upTo = max(upTo, last.Offset)
	}
	if upTo == 0 {
		return 0, nil
	}
	n, err := s.purge(ctx, b, upTo)
	if err == nil {
		s.ends.deleted(b, upTo)
	}
	s.tails.forget(b)
	return n, err
}

// purge deletes the messages of a box up to an offset.
func (s *Store) purge(ctx context.Context, b subject.Box, upTo uint64) (uint64, error) {
	if s.local == nil {
		return s.purgeStream(ctx, b, upTo)
	}
	s.local.deleting.RLock()
	defer s.local.deleting.RUnlock()
	if err := s.makePurgeRoom(); err != nil {
		s.stats.unavailable.Add(1)
		return 0, err
	}
	// Before it happens, so that what is gone is not taken for lost.
	if err := s.local.account.Purge(b, upTo, s.now()); err != nil {
		if err = s.accountFailed(err); err != nil {
			return 0, err
		}
	}
	return s.purgeLocal(ctx, b, upTo)
}

// A purge by nats-server 2.15.2 whose tombstones cannot be written, because the disk is
// full, waits forever for a lock that it holds: PurgeEx calls flushPendingMsgs, which
// calls rebuildState. So the embedded server is asked to purge only if there is room.
// Without much of it messages are deleted one by one, which fails without a deadlock.
const (
	// purgeRoom is much more than the tombstones of a box take, and a new block.
	purgeRoom = 256 << 10
	// deleteRoom is for the tombstones of 1,000 messages, and for the account.
	deleteRoom = 48 << 10
)

// makePurgeRoom gives up the reserve if the disk has no room for a purge, and fails if it
// has none then.
func (s *Store) makePurgeRoom() error {
	l := s.local
	if s.full.Load() == nil && datadir.HasRoom(l.dir, purgeRoom) == nil {
		return nil
	}
	err := datadir.HasRoom(l.dir, deleteRoom)
	if err == nil {
		return nil
	}
	if !datadir.IsDiskFull(err.Error()) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	s.reject(datadir.DiskFull(l.dir))
	if datadir.HasRoom(l.dir, deleteRoom) != nil {
		return datadir.NoRoomToDelete(l.dir)
	}
	return nil
}

// purgeLocal deletes messages of the embedded server.
func (s *Store) purgeLocal(ctx context.Context, b subject.Box, upTo uint64) (n uint64, err error) {
	if s.full.Load() == nil && datadir.HasRoom(s.local.dir, purgeRoom) == nil {
		return s.purgeStream(ctx, b, upTo)
	}
	for seq := uint64(1); ; n++ {
		in, err := s.get(ctx, b.Kind, query{next: b.Subject, seq: seq})
		if in == nil || err != nil {
			return n, err
		}
		if seq, err = strconv.ParseUint(in.Header.Get("Nats-Sequence"), 10, 64); err != nil {
			return n, s.unavailable(err)
		}
		if seq > upTo {
			return n, nil
		}
		if err := s.deleteMessage(ctx, b.Kind, seq); err != nil {
			return n, err
		}
	}
}

// deleteMessage deletes the message at an offset of a stream.
func (s *Store) deleteMessage(ctx context.Context, k subject.Kind, offset uint64) error {
	in, err := s.request(ctx, "$JS.API.STREAM.MSG.DELETE."+k.Stream(), fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, offset))
	if err != nil {
		return s.missing(err)
	}
	var answer struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(in.Data, &answer); err != nil {
		return s.unavailable(err)
	}
	if answer.Error != nil {
		return s.unavailable(answer.Error)
	}
	return nil
}

func (s *Store) purgeStream(ctx context.Context, b subject.Box, upTo uint64) (uint64, error) {
	body := fmt.Sprintf(`{"filter":%q,"seq":%d}`, b.Subject, upTo+1)
	in, err := s.request(ctx, "$JS.API.STREAM.PURGE."+b.Kind.Stream(), []byte(body))
	if err != nil {
		return 0, s.missing(err)
	}
	var answer struct {
		Error  *apiError `json:"error"`
		Purged uint64    `json:"purged"`
	}
	if err := json.Unmarshal(in.Data, &answer); err != nil {
		return 0, s.unavailable(err)
	}
	if answer.Error != nil {
		return 0, s.unavailable(answer.Error)
	}
	return answer.Purged, nil
}

// purgeRead deletes what the user of an inbox has acknowledged, and returns how many
// messages that were.
func (s *Store) purgeRead(ctx context.Context, b subject.Box) (uint64, error) {
	if b.Kind != subject.Inbox {
		return 0, nil
	}
	acked, err := s.storedPosition(ctx, b.Name())
	if err != nil || acked.offset == 0 {
		return 0, err
	}
	return s.purge(ctx, b, acked.offset)
}
