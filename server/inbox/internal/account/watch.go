package account

import (
	"fmt"
	"io/fs"
	"sync/atomic"

	"fanfare/server/inbox/internal/subject"
)

// BlockWatch watches the block file to which a stream appends. The server keeps it open, and
// notices its removal when it is started next. It removes blocks from the beginning, and
// before it removes the last one it begins another: the greatest number never decreases.
type BlockWatch struct {
	greatest uint64      // number that was seen, 0: none yet; owned by the caller of Present
	stored   atomic.Bool // there is a block
}

// Reset forgets what was seen, before a server is started: it removes what it finds empty.
func (w *BlockWatch) Reset() {
	w.greatest = 0
	w.stored.Store(false)
}

// Stored notes that something was stored.
func (w *BlockWatch) Stored() { w.stored.Store(true) }

// Present returns an error if the last block that was seen has been removed.
func (w *BlockWatch) Present(dir string, k subject.Kind) error {
	stored := w.stored.Load()
	now, err := lastBlock(dir, k)
	if err != nil {
		return err
	}
	if now == 0 && stored {
		w.greatest = max(w.greatest, 1)
	}
	if now < w.greatest {
		return fmt.Errorf("block file %d.blk of stream %s is missing: %w", w.greatest, k.Stream(), fs.ErrNotExist)
	}
	w.greatest = now
	return nil
}
